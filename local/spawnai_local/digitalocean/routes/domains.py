"""`/v2/domains` and their records."""

from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.domains import Domain, Domains, Record


class DomainRoutes:
    """Answers for domains and records."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        records = "/v2/domains/{domain_name}/records"
        record = records + "/{domain_record_id}"
        return {
            "GET /v2/domains": self.all,
            "POST /v2/domains": self.create,
            "GET /v2/domains/{domain_name}": self.get,
            "DELETE /v2/domains/{domain_name}": self.delete,
            f"GET {records}": self.records,
            f"POST {records}": self.create_record,
            f"GET {record}": self.record,
            f"PUT {record}": self.update_record,
            f"PATCH {record}": self.update_record,
            f"DELETE {record}": self.delete_record,
        }

    def all(self, request: Request) -> Answer:
        """List all domains."""
        return listing(request, "domains", self._domains.all(), Domain.document)

    def create(self, request: Request) -> Answer:
        """Make a domain."""
        domain = self._domains.create(request.document())
        return answer(201, {"domain": domain.document(zone_file=False)})

    def get(self, request: Request) -> Answer:
        """Show one domain."""
        domain = self._domains.get(_domain(request))
        return answer(200, {"domain": domain.document()})

    def delete(self, request: Request) -> Answer:
        """Delete a domain and its records."""
        self._domains.delete(_domain(request))
        return nothing()

    def records(self, request: Request) -> Answer:
        """List records; `name` is a full name, `type` a type."""
        records = self._domains.records(
            _domain(request), request.query.get("name"), request.query.get("type")
        )
        return listing(request, "domain_records", records, Record.document)

    def create_record(self, request: Request) -> Answer:
        """Add a record."""
        record = self._domains.create_record(_domain(request), request.document())
        return answer(201, {"domain_record": record.document()})

    def record(self, request: Request) -> Answer:
        """Show one record."""
        record = self._domains.record(_domain(request), request.number("domain_record_id"))
        return answer(200, {"domain_record": record.document()})

    def update_record(self, request: Request) -> Answer:
        """Change a record."""
        record = self._domains.update_record(
            _domain(request), request.number("domain_record_id"), request.document()
        )
        return answer(200, {"domain_record": record.document()})

    def delete_record(self, request: Request) -> Answer:
        """Delete a record."""
        self._domains.delete_record(_domain(request), request.number("domain_record_id"))
        return nothing()


def _domain(request: Request) -> str:
    return request.parameters["domain_name"]
