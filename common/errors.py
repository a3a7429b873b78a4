"""The one exception that a user may see."""


class UserError(Exception):
    """Something the user can mend: the message says what was expected and what to type.

    The command line prints the message alone (no traceback) and exits with code 2.
    """
