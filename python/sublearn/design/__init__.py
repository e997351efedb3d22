"""Which weights should learn?"""
