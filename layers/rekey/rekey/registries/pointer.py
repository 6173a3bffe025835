"""JSON pointers (RFC 6901): how a plan says where in an answer a value is."""


def resolve(document: object, pointer: str) -> object:
    """Return what a pointer points to. Raises LookupError, without the document's text, where that is nothing."""
    here = document
    for escaped in pointer.split("/")[1:]:
        step = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and str(int(step)) == step:
            here = here[int(step) : int(step) + 1]
            if not here:
                raise LookupError("past the end of a list")
            here = here[0]
        else:
            raise LookupError("no such field")
    return here
