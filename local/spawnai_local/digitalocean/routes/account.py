"""`/v2/account`, the balance, and what DigitalOcean offers: sizes and regions."""

from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.exchange import Answer, Handler, Request, answer, listing
from spawnai_local.digitalocean.state.account import Account
from spawnai_local.digitalocean.state.bill import Bill
from spawnai_local.digitalocean.state.catalogue import REGIONS, Catalogue, Size


class AccountRoutes:
    """Answers for the account and the offer."""

    def __init__(self, account: Account, catalogue: Catalogue, bill: Bill) -> None:
        self._account = account
        self._catalogue = catalogue
        self._bill = bill

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        return {
            "GET /v2/account": self.account,
            "GET /v2/customers/my/balance": self.balance,
            "GET /v2/sizes": self.sizes,
            "GET /v2/regions": self.regions,
        }

    def account(self, request: Request) -> Answer:
        """Show the account."""
        del request
        return answer(200, {"account": self._account.document()})

    def balance(self, request: Request) -> Answer:
        """Show what the account owes."""
        del request
        owed = f"{self._bill.total():.2f}"
        return answer(
            200,
            {
                "month_to_date_balance": owed,
                "account_balance": "0.00",
                "month_to_date_usage": owed,
                "generated_at": timestamp(self._account.world.now()),
            },
        )

    def sizes(self, request: Request) -> Answer:
        """List the sizes with their prices."""
        return listing(request, "sizes", list(self._catalogue.sizes.values()), Size.document)

    def regions(self, request: Request) -> Answer:
        """List the regions."""
        return listing(request, "regions", list(REGIONS), self._catalogue.region)
