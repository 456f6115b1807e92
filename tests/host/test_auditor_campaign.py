"""The campaigns before audit.py, in a few cases each; `make audit-campaign` has them at full size."""

import pytest

import auditor_campaign


@pytest.mark.parametrize("campaign", auditor_campaign.CAMPAIGNS, ids=lambda campaign: campaign.__name__)
def test_a_few_cases(campaign):
    assert auditor_campaign.run(campaign, 12) == (12, [])
