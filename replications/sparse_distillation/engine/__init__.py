"""Texts as bags of n-grams: see README.md. Nothing here knows the student, the teacher or the paper."""
