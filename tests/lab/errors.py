"""The one error of the lab: a sentence for the person at the terminal."""


class LabError(Exception):
    """Something the lab needs is missing or did not happen; the message names it and says what to do."""
