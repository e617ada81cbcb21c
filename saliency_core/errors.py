"""The errors of the core: one base class, so that a caller can catch them all."""


class SaliencyError(Exception):
    """Something cannot be done as asked, or with what was given; the message says what to do."""


class ArgumentError(SaliencyError, ValueError):
    """An argument cannot be used; the message says what it must be."""


class ClassifierError(SaliencyError, ValueError):
    """A network, its weights or its class names cannot be used as asked; the message says what to do."""


class NotFiniteError(SaliencyError, ArithmeticError):
    """The numbers of an image are infinite or no numbers; the message says what to change."""
