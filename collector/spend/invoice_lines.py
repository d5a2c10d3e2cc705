"""Providers' invoices and cost exports as lines. Pure: a file's bytes enter, `InvoiceLine`s leave.

The forms are those that providers publish, told apart by their own names of fields and columns. Those marked
`tried` in FORMS were read from a real export; the others follow the published columns alone.

Invariants
- No figure passes through a float: JSON numbers are read as decimals, cells as texts.
- A line that says no day, no amount or another currency than USD refuses the file: half an invoice is none.
- Rows of a cloud's bill that are no model's are left out and counted.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from collector.errors import SizewiseError

Kind = Literal["usage", "credit", "tax", "fee"]
Record = Mapping[str, Any]
CENT = Decimal("0.01")


class InvoiceLine(NamedTuple):
    day: date  # UTC, as providers bill
    provider: str
    model: str  # as the invoice names it; "" where it doesn't
    project: str
    description: str
    kind: Kind
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Form:
    name: str
    provider: str  # "" where each row says it
    columns: Mapping[str, tuple[str, ...]]  # what it is -> the columns that say so, the first that is there
    ours: re.Pattern[str] | None = None  # rows whose `service` says so are a model's
    tried: bool = False


class Invoice(NamedTuple):
    form: str
    lines: list[InvoiceLine]
    skipped: int  # rows of the bill that are no model's
    tried: bool


FOCUS = Form(
    "FOCUS",
    "",
    {
        "day": ("ChargePeriodStart",),
        "amount": ("BilledCost",),
        "currency": ("BillingCurrency",),
        "provider": ("ServiceProviderName", "ProviderName", "PublisherName"),
        "service": ("ServiceName", "ServiceCategory"),
        "model": ("SkuMeter", "ResourceName", "ChargeDescription"),
        "project": ("SubAccountName", "SubAccountId"),
        "description": ("ChargeDescription",),
        "kind": ("ChargeCategory",),
    },
    re.compile(r"bedrock|openai|anthropic|vertex|gemini|generative|foundry|ai and machine learning", re.I),
)
CUR = Form(
    "AWS CUR",
    "aws",
    {
        "day": ("lineItem/UsageStartDate", "line_item_usage_start_date"),
        "amount": ("lineItem/UnblendedCost", "line_item_unblended_cost"),
        "currency": ("lineItem/CurrencyCode", "line_item_currency_code"),
        "service": ("lineItem/ProductCode", "line_item_product_code"),
        "model": ("lineItem/UsageType", "line_item_usage_type"),
        "project": ("lineItem/UsageAccountId", "line_item_usage_account_id"),
        "description": ("lineItem/LineItemDescription", "line_item_line_item_description"),
        "kind": ("lineItem/LineItemType", "line_item_line_item_type"),
    },
    re.compile("bedrock", re.I),
)
AZURE = Form(
    "Azure cost export",
    "azure",
    {
        "day": ("date", "Date", "UsageDate"),
        "amount": ("costInUsd", "CostInBillingCurrency", "costInBillingCurrency", "PreTaxCost"),
        "currency": ("billingCurrency", "BillingCurrency", "BillingCurrencyCode", "Currency"),
        "service": ("meterCategory", "MeterCategory"),
        "model": ("meterName", "MeterName"),
        "project": ("resourceGroupName", "ResourceGroup", "ResourceGroupName"),
        "description": ("meterSubCategory", "MeterSubCategory", "MeterSubcategory"),
        "kind": ("chargeType", "ChargeType"),
    },
    re.compile("openai|cognitive|foundry", re.I),
)
GCP = Form(
    "GCP billing export",
    "google",
    {
        "day": ("usage_start_time",),
        "amount": ("cost",),
        "currency": ("currency",),
        "service": ("service.description", "service_description"),
        "model": ("sku.description", "sku_description"),
        "project": ("project.id", "project_id"),
        "description": ("sku.description", "sku_description"),
        "kind": ("cost_type",),
    },
    re.compile("vertex|gemini|generative", re.I),
)
OPENAI_CSV = Form(
    "OpenAI costs CSV",
    "openai",
    {
        "day": ("start_time_iso", "start_time"),
        "amount": ("amount_value",),
        "currency": ("amount_currency",),
        "model": ("line_item",),
        "project": ("project_name", "project_id"),
        "description": ("line_item",),
    },
)
OPENAI_JSON = Form("OpenAI costs JSON", "openai", {})
ANTHROPIC_JSON = Form("Anthropic cost report", "anthropic", {})
FORMS = (OPENAI_JSON, ANTHROPIC_JSON, FOCUS, CUR, AZURE, GCP, OPENAI_CSV)
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("tax",), "tax"),
    **dict.fromkeys(("credit", "refund", "adjustment", "discount", "bundleddiscount"), "credit"),
    **dict.fromkeys(("purchase", "fee", "rifee", "savingsplanrecurringfee", "unusedreservation"), "fee"),
}


def read_invoice(content: bytes, name: str) -> Invoice:
    """`name` is for the texts of refusals."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SizewiseError(f"{name} is no text in UTF-8: an invoice is CSV or JSON.") from None
    if text.lstrip()[:1] in {"{", "["}:
        return read_json(text, name)
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = [column.strip() for column in rows.fieldnames or ()]
    rows.fieldnames = columns
    form = next((one for one in FORMS if one.columns and fits(one, columns)), None)
    if form is None:
        told = {one.name: ", ".join(names[0] for names in needed(one)) for one in FORMS if one.columns}
        known = "; ".join(f"{form_name}: {names}" for form_name, names in told.items())
        raise SizewiseError(f"{name} has none of the known forms. Their columns are: {known}.")
    lines, skipped = [], 0
    try:
        for row in rows:
            if form.ours is not None and not form.ours.search(cell(form, row, "service")):
                skipped += 1
            else:
                lines.append(line_of(form, row, f"{name}:{rows.line_num}"))
    except csv.Error as problem:
        raise SizewiseError(f"{name}:{rows.line_num}: no CSV: {problem}.") from None
    return Invoice(form.name, lines, skipped, form.tried)


def needed(form: Form) -> list[tuple[str, ...]]:
    return [form.columns[what] for what in ("day", "amount", "currency")]


def fits(form: Form, columns: list[str]) -> bool:
    return all(any(name in columns for name in names) for names in needed(form))


def cell(form: Form, row: Record, what: str) -> str:
    values = (row.get(name) for name in form.columns.get(what, ()))
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")


def line_of(form: Form, row: Record, where: str) -> InvoiceLine:
    in_usd = "costInUsd" in row and form is AZURE
    check_currency("USD" if in_usd else cell(form, row, "currency"), where)
    amount = money(cell(form, row, "amount"), where)
    kind = KINDS.get(cell(form, row, "kind").lower(), "usage")
    return InvoiceLine(
        day_of(cell(form, row, "day"), where),
        provider_of(form, cell(form, row, "provider")),
        model_of(cell(form, row, "model")),
        cell(form, row, "project"),
        cell(form, row, "description")[:500],
        "credit" if amount < 0 and kind == "usage" else kind,
        amount,
    )


def provider_of(form: Form, text: str) -> str:
    if form.provider:
        return form.provider
    known = {"aws": "aws", "amazon": "aws", "microsoft": "azure", "azure": "azure", "google": "google"}
    known |= {"openai": "openai", "anthropic": "anthropic"}
    return next((provider for word, provider in known.items() if word in text.lower()), text.lower())


def read_json(text: str, name: str) -> Invoice:
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError) as problem:
        raise SizewiseError(f"{name} is no JSON: {problem}.") from None
    pages = found if isinstance(found, list) else [found]
    buckets = [bucket for page in pages for bucket in listed(page, "data")]
    for form, key, read in READERS:
        if buckets and all(isinstance(bucket, dict) and key in bucket for bucket in buckets):
            lines = [
                read(result, bucket, f"{name}, bucket {at}")
                for at, bucket in enumerate(buckets)
                for result in listed(bucket, "results")
            ]
            return Invoice(form.name, lines, 0, form.tried)
    raise SizewiseError(
        f"{name} has none of the known forms: OpenAI's costs have `data[].start_time`, "
        "Anthropic's cost report `data[].starting_at`."
    )


def listed(value: Any, key: str) -> Iterator[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return iter(found if isinstance(found, list) else ())


def openai_line(result: Any, bucket: Record, where: str) -> InvoiceLine:
    amount = result.get("amount") if isinstance(result, dict) else None
    if not isinstance(amount, dict):
        raise SizewiseError(f"{where}: a result without `amount`.")
    check_currency(str(amount.get("currency", "")), where)
    item, cost = str(result.get("line_item") or ""), money(amount.get("value"), where)
    project = str(result.get("project_id") or "")
    kind: Kind = "credit" if cost < 0 else "usage"
    day = day_of(bucket["start_time"], where)
    return InvoiceLine(day, "openai", model_of(item), project, item, kind, cost)


def anthropic_line(result: Any, bucket: Record, where: str) -> InvoiceLine:
    """Its amounts are cents."""
    if not isinstance(result, dict) or "amount" not in result:
        raise SizewiseError(f"{where}: a result without `amount`.")
    check_currency(str(result.get("currency") or ""), where)
    cost = money(result["amount"], where) * CENT
    model, project, about = (str(result.get(name) or "") for name in ("model", "workspace_id", "description"))
    kind: Kind = "credit" if cost < 0 else "usage"
    day = day_of(bucket["starting_at"], where)
    return InvoiceLine(day, "anthropic", model_of(model), project, about, kind, cost)


Reader = Callable[[Any, Record, str], InvoiceLine]
READERS: tuple[tuple[Form, str, Reader], ...] = (
    (OPENAI_JSON, "start_time", openai_line),
    (ANTHROPIC_JSON, "starting_at", anthropic_line),
)


def check_currency(text: str, where: str) -> None:
    if text.upper() != "USD":
        raise SizewiseError(f"{where}: the currency is {text!r}; only USD can be compared with the ledger.")


def money(value: Any, where: str) -> Decimal:
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > 10**12:
        raise SizewiseError(f"{where}: {str(value)[:40]!r} is no amount.")
    return found


def day_of(value: Any, where: str) -> date:
    text = str(value).strip()
    try:
        if text.isascii() and text.isdigit() and len(text) >= 9:
            return datetime.fromtimestamp(int(text), UTC).date()
        if match := re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", text):
            return date(int(match[3]), int(match[1]), int(match[2]))
        found = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except (ValueError, OverflowError, OSError):
        raise SizewiseError(f"{where}: {text[:40]!r} is no day.") from None
    return (found.astimezone(UTC) if found.tzinfo else found).date()


def model_of(item: str) -> str:
    """`gpt-4o-2024-08-06, cached input` is about gpt-4o-2024-08-06."""
    return item.partition(",")[0].strip()
