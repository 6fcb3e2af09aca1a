"""Mutation testing of the heart: do its tests catch small wrongs?"""
