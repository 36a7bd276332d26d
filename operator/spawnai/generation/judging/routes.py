"""Paths of Express 5 (path-to-regexp 8): which are refused when the app starts."""

import re

_NAME = re.compile(r"[A-Za-z_$][\w$]*|\"[^\"]+\"")
_RESERVED = frozenset("()[]+?!")


def route_problem(route: str) -> str | None:
    """Why Express 5 refuses the path, and what to write; None when it takes it."""
    position, depth = 0, 0
    while position < len(route):
        character = route[position]
        if character == "\\":
            position += 2
            continue
        if character in ":*":
            name = _NAME.match(route, position + 1)
            if name is None:
                if character == "*":
                    before = route[:position].rstrip("/")
                    return f"a wildcard has a name; write {before}/{{*rest}}"
                return "a parameter has a name; write :id"
            position = name.end()
            continue
        if character in _RESERVED:
            if character == "?":
                return "an optional part stands in braces; write {/:id} instead of /:id?"
            return (
                f"{character} has no meaning in it; write plain segments, :name or {{*rest}}, or a "
                "regular expression"
            )
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                return "a brace closes that was not opened"
        position += 1
    return "a brace opens that is not closed" if depth else None
