"""Accounts behind tokens: each is opened once, and told only of what is its own."""

from types import SimpleNamespace

from spawnai.controller.accounts import AccountNews, Accounts


def test_an_account_hears_of_the_deletions_that_are_due_in_it_and_in_no_other():
    opened = {}

    def connect(token, news):
        opened[token] = news
        assert news.deletions_due() == 0, "asked while it is being opened"
        return SimpleNamespace(token=token)

    due = {"test-token-a": 500, "test-token-b": 2}
    accounts = Accounts(
        connect, AccountNews(print, print), deletions_due=lambda account: due[account.token]
    )
    assert accounts.open("test-token-a") is accounts.open("test-token-a")
    accounts.open("test-token-b")
    assert {token: news.deletions_due() for token, news in opened.items()} == due
