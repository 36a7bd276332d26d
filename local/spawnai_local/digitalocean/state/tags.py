"""Tags: made by name or by use, kept until they are deleted, also when nothing carries them."""

import re
from dataclasses import dataclass, field
from typing import Any

from spawnai_local.digitalocean import errors

TAG_NAME = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")


@dataclass(slots=True)
class Tag:
    """A tag and the droplets that carry it, in the order they were tagged."""

    name: str
    droplets: dict[int, None] = field(default_factory=dict)
    last_tagged: int | None = None

    def document(self, base_url: str) -> dict[str, Any]:
        """Return the tag as the API shows it, with links below `base_url`."""
        droplets: dict[str, Any] = {"count": len(self.droplets)}
        if self.last_tagged is not None:
            droplets["last_tagged_uri"] = f"{base_url}/v2/droplets/{self.last_tagged}"
        nothing = {"count": 0}
        return {
            "name": self.name,
            "resources": {
                **droplets,
                "droplets": droplets,
                "images": nothing,
                "volumes": nothing,
                "volume_snapshots": nothing,
                "databases": nothing,
            },
        }


class Tags:
    """All tags. Names are case-stable: the first spelling is kept, and a second one means it."""

    def __init__(self) -> None:
        self._tags: dict[str, Tag] = {}

    def all(self) -> list[Tag]:
        """Return all tags by name."""
        return [self._tags[name] for name in sorted(self._tags)]

    def find(self, name: str) -> Tag | None:
        """Find a tag by exactly this spelling."""
        tag = self._tags.get(name.lower())
        return tag if tag is not None and tag.name == name else None

    def get(self, name: str) -> Tag:
        """Return a tag.

        Raises:
            ApiError: 404, there is none of this spelling.
        """
        tag = self.find(name)
        if tag is None:
            raise errors.not_found()
        return tag

    def ensure(self, name: object) -> Tag:
        """Return the tag of this name, making it if there is none.

        Raises:
            ApiError: 422, it is no name for a tag.
        """
        valid = _tag_name(name)
        return self._tags.setdefault(valid.lower(), Tag(valid))

    def validate(self, names: object) -> list[str]:
        """Check a list of tag names without making any.

        Raises:
            ApiError: 422, it is no list of names for tags.
        """
        if names is None:
            return []
        if not isinstance(names, list):
            raise errors.unprocessable("tags must be a list of tag names")
        return list(dict.fromkeys(_tag_name(name) for name in names))

    def delete(self, name: str) -> Tag:
        """Forget a tag and return it.

        Raises:
            ApiError: 404, there is none of this spelling.
        """
        tag = self.get(name)
        del self._tags[name.lower()]
        return tag

    def attach(self, name: str, droplet_id: int) -> Tag:
        """Put a tag on a droplet."""
        tag = self.ensure(name)
        tag.droplets[droplet_id] = None
        tag.last_tagged = droplet_id
        return tag

    def detach(self, name: str, droplet_id: int) -> None:
        """Take a tag off a droplet."""
        tag = self._tags.get(name.lower())
        if tag is not None:
            tag.droplets.pop(droplet_id, None)
            if tag.last_tagged == droplet_id:
                tag.last_tagged = next(reversed(tag.droplets), None)


def _tag_name(name: object) -> str:
    if not isinstance(name, str) or TAG_NAME.fullmatch(name) is None:
        raise errors.unprocessable(
            f"Tag name {name!r} is invalid: letters, numbers, colons, dashes and underscores, "
            "at most 255 of them"
        )
    return name
