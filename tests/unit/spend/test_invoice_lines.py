"""Invoices in the forms that providers publish, each small enough to be added up by hand."""

import json
from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SizewiseError
from collector.spend.invoice_lines import read_invoice

OPENAI = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1793491200,  # 2026-11-01, 00:00 UTC
            "end_time": 1793577600,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.1, "currency": "usd"},
                    "line_item": "gpt-4o-2024-08-06, cached input",
                    "project_id": "proj_abc",
                },
                {"amount": {"value": -2, "currency": "usd"}, "line_item": None, "project_id": None},
            ],
        }
    ],
}
ANTHROPIC = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_at": "2026-11-02T00:00:00Z",
            "results": [
                {
                    "currency": "USD",
                    "amount": "123.45",  # cents
                    "workspace_id": "wrkspc_1",
                    "description": "Claude Sonnet 4.5 Usage - Input Tokens",
                    "model": "claude-sonnet-4-5-20250929",
                }
            ],
        }
    ],
}
FOCUS = """\
ChargePeriodStart,BilledCost,BillingCurrency,ProviderName,ServiceName,SkuMeter,SubAccountId,ChargeCategory
2026-11-01T00:00:00Z,1.25,USD,Microsoft,Azure OpenAI,gpt-4o Inp,prod,Usage
2026-11-01T00:00:00Z,9.99,USD,Microsoft,Virtual Machines,D2,prod,Usage
2026-11-01T00:00:00Z,0.25,USD,Microsoft,Azure OpenAI,,prod,Tax
"""
CUR_COLUMNS = (
    "lineItem/UsageStartDate",
    "lineItem/UnblendedCost",
    "lineItem/CurrencyCode",
    "lineItem/ProductCode",
    "lineItem/UsageType",
    "lineItem/UsageAccountId",
    "lineItem/LineItemType",
)
CUR = (
    ",".join(CUR_COLUMNS)
    + """
2026-11-01T13:00:00Z,0.000003,USD,AmazonBedrock,USE1-Claude-input-tokens,123,Usage
2026-11-01T13:00:00Z,5,USD,AmazonEC2,BoxUsage,123,Usage
2026-11-01T13:00:00Z,-1,USD,AmazonBedrock,,123,Credit
"""
)
AZURE = """date,costInUsd,billingCurrency,meterCategory,meterName,resourceGroupName,chargeType
11/01/2026,2.5,EUR,Azure OpenAI,gpt 4o 0806 Inp glbl Tokens,rg1,Usage
"""
GCP = """usage_start_time,cost,currency,service.description,sku.description,project.id,cost_type
2026-11-01 08:00:00 UTC,0.75,USD,Vertex AI,Gemini 2.5 Flash Input,p1,regular
"""
OPENAI_CSV = """start_time,start_time_iso,amount_value,amount_currency,line_item,project_name
1793491200,2026-11-01T00:00:00+00:00,0.5,usd,"gpt-4o, output",Search
"""


@pytest.mark.parametrize(
    ("content", "form", "skipped", "lines"),
    [
        (
            json.dumps(OPENAI),
            "OpenAI costs JSON",
            0,
            [("openai", "gpt-4o-2024-08-06", "proj_abc", "usage", "0.1"), ("openai", "", "", "credit", "-2")],
        ),
        (
            json.dumps([ANTHROPIC]),
            "Anthropic cost report",
            0,
            [("anthropic", "claude-sonnet-4-5-20250929", "wrkspc_1", "usage", "1.2345")],
        ),
        (
            FOCUS,
            "FOCUS",
            1,
            [("azure", "gpt-4o Inp", "prod", "usage", "1.25"), ("azure", "", "prod", "tax", "0.25")],
        ),
        (
            CUR,
            "AWS CUR",
            1,
            [
                ("aws", "USE1-Claude-input-tokens", "123", "usage", "0.000003"),
                ("aws", "", "123", "credit", "-1"),
            ],
        ),
        (AZURE, "Azure cost export", 0, [("azure", "gpt 4o 0806 Inp glbl Tokens", "rg1", "usage", "2.5")]),
        (GCP, "GCP billing export", 0, [("google", "Gemini 2.5 Flash Input", "p1", "usage", "0.75")]),
        (OPENAI_CSV, "OpenAI costs CSV", 0, [("openai", "gpt-4o", "Search", "usage", "0.5")]),
    ],
)
def test_each_form_is_known_by_its_own_names(content, form, skipped, lines):
    invoice = read_invoice(content.encode(), "file")
    assert (invoice.form, invoice.skipped) == (form, skipped)
    told = [(line.provider, line.model, line.project, line.kind, line.cost_usd) for line in invoice.lines]
    assert told == [(*line[:4], Decimal(line[4])) for line in lines]
    assert {line.day for line in invoice.lines} == {date(2026, 11, 1)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", "none of the known forms"),
        ("{}", "none of the known forms"),
        ("{", "no JSON"),
        ("\xff", "none of the known forms"),
        (OPENAI_CSV.replace("usd", "eur"), "file:2: the currency is 'eur'"),
        (OPENAI_CSV.replace("0.5", "half"), "file:2: 'half' is no amount"),
        (OPENAI_CSV.replace("0.5", "NaN"), "'NaN' is no amount"),
        (OPENAI_CSV.replace("2026-11-01T00:00:00+00:00", "soon"), "file:2: 'soon' is no day"),
        (json.dumps(OPENAI).replace("0.1", "NaN"), "'NaN' is no amount"),
        (json.dumps(ANTHROPIC).replace('"amount"', '"sum"'), "a result without `amount`"),
    ],
)
def test_half_an_invoice_is_none(content, words):
    with pytest.raises(SizewiseError) as refused:
        read_invoice(content.encode(), "file")
    assert words in str(refused.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_else_is_raised_whatever_the_file(content):
    with suppress(SizewiseError):
        read_invoice(content, "file")
