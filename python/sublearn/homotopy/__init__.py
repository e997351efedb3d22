"""All complex solutions of the equations of a trial, and how many of them are real."""
