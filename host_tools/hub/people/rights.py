"""Every address of the hub's page, and who may ask it. An address that is not in this list is not served.

PUBLIC       anybody: it says nothing of the park (log: hashes only; enrolment has its own tokens)
roles        those who may, with what belongs to them
OWN          the answer holds only what belongs to the visitor
GATEWAY      the gateway in the address must belong to the visitor
"""

from __future__ import annotations

from typing import NamedTuple

from host_tools.hub.people.accounts import AUDITOR, OPERATOR, ROLES, TECHNICIAN, TENANT

PUBLIC = "public"
ALL, OWN, GATEWAY = "all", "own", "gateway"
_MONEY = (OPERATOR, AUDITOR, TENANT)
_STAFF = (OPERATOR, TECHNICIAN, AUDITOR)


class Right(NamedTuple):
    """Who may ask an address. `belongs` is how what belongs to a tenant is made sure: ALL has nothing of a tenant."""

    roles: tuple[str, ...]
    belongs: str = ALL
    page: bool = False  # for people: who is not signed in is led to the page where one does
    changes: bool = False


ANYBODY = Right((PUBLIC,))

RIGHTS: dict[tuple[str, str], Right] = {
    ("GET", "/"): Right(ROLES, page=True),
    ("GET", "/place"): Right(ROLES, page=True),
    ("GET", "/login"): ANYBODY,
    ("POST", "/api/login"): ANYBODY,
    ("POST", "/api/logout"): Right(ROLES, changes=True),
    ("POST", "/api/password"): Right(ROLES, changes=True),
    ("GET", "/api/me"): Right(ROLES),
    ("GET", "/api/summary"): Right(ROLES, OWN),
    ("GET", "/api/gateways"): Right(ROLES, OWN),
    ("POST", "/api/gateways"): ANYBODY,
    ("GET", "/api/gateways/{id}"): Right(ROLES, GATEWAY),
    ("GET", "/api/gateways/{id}/readings"): Right(ROLES, GATEWAY),
    ("GET", "/api/gateways/{id}/energy"): Right(ROLES, GATEWAY),
    ("GET", "/api/gateways/{id}/view"): Right(ROLES, GATEWAY),
    ("GET", "/api/gateways/{id}/proof"): Right(ROLES, GATEWAY),
    ("GET", "/api/gateways/{id}/bill"): Right(_MONEY, GATEWAY),
    ("GET", "/api/gateways/{id}/batches/{epoch}/{seq:int}"): Right(ROLES, GATEWAY),
    ("GET", "/api/tariffs"): Right(_MONEY),
    ("GET", "/bill"): Right(_MONEY, GATEWAY, page=True),
    ("GET", "/api/park"): Right(ROLES, OWN),
    ("GET", "/api/places"): Right(ROLES, OWN),
    ("GET", "/api/places/{id}/view"): Right(ROLES, OWN),
    ("GET", "/api/alarms"): Right(ROLES, OWN),
    ("POST", "/api/alarms/{id:int}/acknowledge"): Right((OPERATOR, TECHNICIAN), changes=True),
    ("GET", "/api/export"): Right(_MONEY, OWN),
    ("GET", "/metrics"): Right(_STAFF),
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/lots"): Right(_STAFF, page=True),
    ("GET", "/api/lots"): Right(_STAFF),
    ("GET", "/api/lots/one"): Right(_STAFF),
    ("GET", "/api/lots/recall"): Right(_STAFF),
    ("GET", "/audit"): Right(_STAFF, page=True),
    ("GET", "/api/log"): Right(_STAFF),
    ("GET", "/api/log/consistency"): Right(_STAFF),
    ("GET", "/api/log/code"): Right(_STAFF),
    ("GET", "/api/archive"): Right((OPERATOR, AUDITOR)),
    ("GET", "/log/checkpoint"): ANYBODY,
    ("GET", "/log/key"): ANYBODY,
    ("GET", "/log/tile/{path:path}"): ANYBODY,
    ("GET", "/log/receipt/{leaf:int}"): ANYBODY,
    ("GET", "/log/consistency/{size:int}"): ANYBODY,
    ("GET", "/log/proof/{leaf:int}"): ANYBODY,
    ("GET", "/log/batch/{gateway}/{epoch}/{seq:int}"): ANYBODY,
}
