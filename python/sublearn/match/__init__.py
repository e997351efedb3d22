"""Is there a match, and is it found?"""
