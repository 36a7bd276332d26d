"""Which handler answers a request: a table of methods and path templates."""

from dataclasses import dataclass

from spawnai_local.digitalocean.exchange import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """A handler and the method and template it answers, such as `GET /v2/droplets/{droplet_id}`."""

    endpoint: str
    method: str
    template: str
    handler: Handler


class Router:
    """Finds routes. A fixed word in a template goes before a parameter at the same place."""

    def __init__(self) -> None:
        self._root: dict[str, object] = {}
        self.endpoints: list[str] = []

    def add(self, table: dict[str, Handler]) -> None:
        """Add handlers by `METHOD /path/{parameter}`."""
        for endpoint, handler in table.items():
            method, _, template = endpoint.partition(" ")
            node = self._root
            for word in template.split("/")[1:]:
                key = "{}" if word.startswith("{") else word
                child = node.setdefault(key, {})
                if not isinstance(child, dict):
                    raise TypeError(f"{endpoint} collides with another path")
                node = child
            node[f" {method}"] = Route(endpoint, method, template, handler)
            self.endpoints.append(endpoint)

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """Return the route of a request, None if there is none, and the parameters in its path."""
        words = path.rstrip("/").split("/")[1:]
        found = _walk(self._root, words, 0, f" {method}")
        if found is None:
            return None, {}
        names = found.template.split("/")[1:]
        return found, {
            name[1:-1]: word
            for name, word in zip(names, words, strict=True)
            if name.startswith("{")
        }


def _walk(node: dict[str, object], words: list[str], index: int, method: str) -> Route | None:
    if index == len(words):
        route = node.get(method)
        return route if isinstance(route, Route) else None
    for key in (words[index], "{}"):
        child = node.get(key)
        if isinstance(child, dict) and words[index]:
            found = _walk(child, words, index + 1, method)
            if found is not None:
                return found
    return None
