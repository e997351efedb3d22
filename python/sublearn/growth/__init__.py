"""Growth: what can the present weights not express, and what would mend it?"""
