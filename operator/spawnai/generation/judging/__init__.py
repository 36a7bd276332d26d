"""Judging: whether a bundle may be deployed. It runs in a process of its own (see `judge.py`).

    judge.py  ──JSON lines──►  worker.py ──► validation.py
    (operator)                 (no key, no files, killed at a limit)
                                              shape: paths, sizes, secrets
                                              webapp.py    pages in a browser
                                              server.py    api, fullstack: Node.js, and its pages
                                              script.py    Python
                               javascript.py, page.py, stylesheet.py, python_source.py: what a
                               parser says of one file; syntax.py: whether it would load

Everything but `judge.py` is imported in the worker alone: a parser that is fed something made to
hurt holds its interpreter for seconds.
"""
