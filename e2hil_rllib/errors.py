"""What goes wrong by what was given, not by a defect of the program."""


class UserError(Exception):
    """Base of the errors that the command line prints as a message, without a traceback."""
