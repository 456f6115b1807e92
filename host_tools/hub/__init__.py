"""The reference hub: receive → verify → accept → store → receipt, with a page to watch it.

    broker ──▶ receive ──▶ intake ┬▶ verify   whose message is this, and is it signed as it must be?
       ▲                          ├▶ accept   new, late, duplicate or fork? (pure)
       │                          ├▶ decode   columns to blocks
       │                          └▶ store    one SQLite transaction for a group of messages
       └───────────── receipts ◀──┘           only after the commit
                                  web ◀── summary, readings (own read-only connections)

A message is acknowledged to the broker, and a receipt sent to the gateway, only after the commit: killed at
any moment, the hub has lost nothing that it acknowledged.
"""
