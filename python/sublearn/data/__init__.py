"""Where teachers, students and inputs come from."""
