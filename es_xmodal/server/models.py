"""What goes in and out over HTTP, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(max_length=512)]
Words = Annotated[str, StringConstraints(max_length=8192)]
PictureText = Annotated[str, StringConstraints(max_length=40_000_000)]

SEARCH_EXAMPLES: dict[str, Any] = {
    "words": {"summary": "Words", "value": {"text": "red mug", "size": 5}},
    "filtered": {
        "summary": "Words, filters, facets",
        "value": {"text": "马克杯", "filters": ["price=..20"], "facets": ["brand"], "collapse": True},
    },
    "like": {
        "summary": "Like this product, but not that word",
        "value": {"like": ["mug-01"], "minus": ["red"]},
    },
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRequest(_Strict):
    """One search; at least one of `text`, `images` and `like`."""

    text: Words = Field(default="", description="words in any language")
    images: list[PictureText] = Field(
        default_factory=list, description="pictures as data: URIs; files go into the parts `image` of a form"
    )
    like: list[Name] = Field(default_factory=list, max_length=16, description="ids of products")
    minus: list[Words] = Field(
        default_factory=list, max_length=16, description="words, or id:ID: what to move away from"
    )
    keep_like: bool = Field(default=False, description="the products of `like` may be hits")
    composition: Literal["auto", "early", "late"] = "auto"
    filters: list[Words] = Field(
        default_factory=list, max_length=32, examples=[["brand=A|B", "price=10..20"]]
    )
    facets: list[Name] = Field(default_factory=list, max_length=16, examples=[["brand", "price:0,50"]])
    sort: list[Name] = Field(default_factory=list, max_length=8, examples=[["-price"]])
    collapse: bool = Field(default=False, description="one hit for all variants of a product")
    size: int = Field(default=10, ge=1, le=1000, description="hits on one page")
    fusion: Literal["convex", "rrf", "boost", "server-linear", "server-rrf"] = "convex"
    weights: dict[Name, float] = Field(default_factory=dict, description="leg to weight")
    cutoff: float | None = Field(
        default=None, ge=-10, le=10, description="spreads; leaves out what is irrelevant"
    )
    window: int | None = Field(default=None, ge=10, le=1000, description="candidates a leg")
    cursor: str | None = Field(default=None, max_length=20_000, description="of the page before")
    hold: bool = Field(default=False, description="all pages show the index as it was on the first one")
    explain: bool = Field(default=False, description="why each hit stands where it stands")


class WordSearch(_Strict):
    """The part of a search that fits into an address."""

    q: Words = Field(description="words")
    filter: list[Name] = Field(default_factory=list, max_length=32, description="brand=A|B")
    facet: list[Name] = Field(default_factory=list, max_length=16, description="brand")
    sort: list[Name] = Field(default_factory=list, max_length=8, description="-price")
    size: int = Field(default=10, ge=1, le=1000)
    collapse: bool = False
    cursor: str | None = Field(default=None, max_length=20_000)

    def request(self) -> SearchRequest:
        """Return the same as a whole request."""
        return SearchRequest(
            text=self.q,
            filters=self.filter,
            facets=self.facet,
            sort=self.sort,
            size=self.size,
            collapse=self.collapse,
            cursor=self.cursor,
        )


class LegScore(BaseModel):
    """One leg's part of a score."""

    raw: float | None
    normalised: float
    weight: float
    contribution: float


class HitModel(BaseModel):
    """One product of the ranking."""

    id: str
    score: float
    rank: int
    source: dict[str, Any] = Field(description="the product as a catalogue row")
    legs: dict[str, LegScore] = Field(description="their contributions add up to the score")
    highlight: dict[str, str] = Field(
        description="field to its text as HTML: escaped, with <em> around words"
    )
    best_image: str | None
    variants: int | None = None
    explain: dict[str, Any] | None = None


class Total(BaseModel):
    """How many products fit."""

    value: int
    relation: Literal["eq", "gte"]
    reachable: int = Field(description="so many hits can be paged through")


class SearchAnswer(BaseModel):
    """One page of hits."""

    total: Total
    took_ms: float
    plan: dict[str, Any]
    hits: list[HitModel]
    facets: dict[str, Any]
    cursor: str | None
    warnings: list[str]


class FacetAnswer(BaseModel):
    """Counts beside a search."""

    facets: dict[str, Any]
    total: Total


class PlanAnswer(BaseModel):
    """The requests that a search sends to Elasticsearch, in their order."""

    fusion: str
    composition: str
    legs: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    console: str = Field(description="the same, to paste into Kibana's Console")
    warnings: list[str]


class EncodeRequest(_Strict):
    """Texts and pictures to be turned into vectors."""

    texts: list[Words] = Field(default_factory=list, max_length=64)
    images: list[PictureText] = Field(default_factory=list, description="pictures as data: URIs")


class EncodeAnswer(BaseModel):
    """Vectors, of unit length, in the order of what was given."""

    encoder: str
    fingerprint: str
    texts: dict[str, list[list[float]]] = Field(description="space to vectors")
    images: dict[str, list[list[float]]]


class Ready(BaseModel):
    """Whether the service can answer."""

    ready: bool
    index: str
    detail: str


class ProblemModel(BaseModel):
    """An error, as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    hint: str | None = None
    field: str | None = None
    code: str | None = None
