"""`/v2/certificates`."""

from spawnai_local.digitalocean.exchange import (
    Answer,
    Handler,
    Request,
    answer,
    listing,
    nothing,
)
from spawnai_local.digitalocean.state.certificates import Certificate, Certificates


class CertificateRoutes:
    """Answers for certificates."""

    def __init__(self, certificates: Certificates) -> None:
        self._all = certificates

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        one = "/v2/certificates/{certificate_id}"
        return {
            "GET /v2/certificates": self.all,
            "POST /v2/certificates": self.create,
            f"GET {one}": self.get,
            f"DELETE {one}": self.delete,
        }

    def all(self, request: Request) -> Answer:
        """List the certificates, those of one `name` if it is given."""
        name = request.query.get("name")
        found = [one for one in self._all.all() if name is None or one.name == name]
        return listing(request, "certificates", found, Certificate.document)

    def create(self, request: Request) -> Answer:
        """Order or upload a certificate."""
        made = self._all.create(request.document(), errored=request.anomalies.errored)
        return answer(201, {"certificate": made.document()})

    def get(self, request: Request) -> Answer:
        """Show one certificate."""
        known = self._all.get(request.parameters["certificate_id"])
        return answer(200, {"certificate": known.document()})

    def delete(self, request: Request) -> Answer:
        """Delete a certificate."""
        self._all.delete(request.parameters["certificate_id"])
        return nothing()
