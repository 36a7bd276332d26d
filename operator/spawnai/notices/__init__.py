"""Notices to users: what happened to a session, told in Discord, Slack or to a webhook."""
