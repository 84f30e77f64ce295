"""The shapes of Kibana's saved objects, in our own words, as strict as Kibana is: unknown keys are refused.

From what Kibana 8.8 to 9.x checks when it imports: the attributes of `index-pattern`, `search`, `lens` and
`dashboard`, and of Lens the parts that it reads without looking.
"""

# The names are Kibana's.
# ruff: noqa: N815

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        raise ValueError("Kibana keeps this as JSON text")
    return json.loads(text)


class Reference(_Strict):
    name: str
    type: Literal["index-pattern", "search", "lens", "dashboard"]
    id: str


class Query(_Strict):
    query: str
    language: Literal["kuery", "lucene"]


class SearchSource(_Strict):
    query: Query
    filter: list[Any]
    indexRefName: str | None = None
    highlightAll: bool = True
    version: bool = True


class SearchSourceMeta(_Strict):
    searchSourceJSON: Annotated[SearchSource, BeforeValidator(_parsed)]


class SourceFilter(_Strict):
    value: str


class UrlParams(_Strict):
    type: Literal["a", "img", "audio"]
    urlTemplate: str | None = None
    labelTemplate: str | None = None
    width: int | None = None
    height: int | None = None


class UrlFormat(_Strict):
    id: Literal["url"]
    params: UrlParams


class PatternParams(_Strict):
    pattern: str


class NumberFormat(_Strict):
    id: Literal["number", "percent"]
    params: PatternParams


class DataViewAttributes(_Strict):
    title: str = Field(min_length=1)
    name: str
    timeFieldName: str | None = None
    fields: Annotated[list[Any], BeforeValidator(_parsed)] = []
    fieldAttrs: Annotated[dict[str, Any], BeforeValidator(_parsed)] = {}
    sourceFilters: Annotated[list[SourceFilter], BeforeValidator(_parsed)] = []
    fieldFormatMap: Annotated[dict[str, UrlFormat | NumberFormat], BeforeValidator(_parsed)] = {}
    typeMeta: Annotated[dict[str, Any], BeforeValidator(_parsed)] = {}
    runtimeFieldMap: Annotated[dict[str, Any], BeforeValidator(_parsed)] = {}
    allowNoIndex: bool = False


class Width(_Strict):
    width: int | None = None


class Grid(_Strict):
    columns: dict[str, Width] = {}


class SearchAttributes(_Strict):
    title: str
    description: str = ""
    columns: list[str] = []
    sort: list[tuple[str, Literal["asc", "desc"]]] = []
    grid: Grid = Grid()
    rowHeight: int | None = Field(default=None, ge=-1)
    hideChart: bool = False
    isTextBasedQuery: bool = False
    kibanaSavedObjectMeta: SearchSourceMeta
    timeRestore: bool = False


class LensColumn(_Strict):
    label: str
    customLabel: bool = False
    dataType: Literal["number", "string", "date"]
    operationType: Literal["count", "sum", "average", "max", "date_histogram", "terms"]
    sourceField: str
    isBucketed: bool
    scale: Literal["ratio", "interval", "ordinal"]
    params: dict[str, Any]

    @model_validator(mode="after")
    def _as_lens_makes_it(self) -> LensColumn:
        made = {
            "date_histogram": ("date", True, "interval"),
            "terms": ("string", True, "ordinal"),
        }.get(self.operationType, ("number", False, "ratio"))
        assert (self.dataType, self.isBucketed, self.scale) == made
        assert (self.sourceField == "___records___") == (self.operationType == "count")
        allowed = {
            "date_histogram": {"interval", "includeEmptyRows", "dropPartials"},
            "terms": {
                "size",
                "orderBy",
                "orderDirection",
                "otherBucket",
                "missingBucket",
                "parentFormat",
            },
            "sum": {"format", "emptyAsNull"},
            "count": {"format", "emptyAsNull"},
        }.get(self.operationType, {"format"})
        assert set(self.params) <= allowed
        return self


class LensLayer(_Strict):
    columns: dict[str, LensColumn]
    columnOrder: list[str]
    incompleteColumns: dict[str, Any] = {}

    @model_validator(mode="after")
    def _in_order(self) -> LensLayer:
        assert sorted(self.columnOrder) == sorted(self.columns)
        bucketed = [self.columns[one].isBucketed for one in self.columnOrder]
        assert bucketed == sorted(bucketed, reverse=True), "buckets come first"
        for column in self.columns.values():
            by = column.params.get("orderBy")
            assert by is None or not self.columns[by["columnId"]].isBucketed
        return self


class FormBased(_Strict):
    layers: dict[str, LensLayer]


class DatasourceStates(_Strict):
    formBased: FormBased


class XyLayer(_Strict):
    layerId: str
    layerType: Literal["data"]
    seriesType: Literal["line", "bar_stacked"]
    xAccessor: str
    splitAccessor: str | None = None
    accessors: list[str] = Field(min_length=1)
    position: Literal["top"]
    showGridlines: bool


class Legend(_Strict):
    isVisible: bool
    position: Literal["right", "bottom", "left", "top"]
    showSingleSeries: bool


class Extent(_Strict):
    mode: Literal["full", "dataBounds", "custom"]


class Axes(_Strict):
    x: bool
    yLeft: bool
    yRight: bool


class Xy(_Strict):
    preferredSeriesType: Literal["line", "bar_stacked"]
    layers: list[XyLayer] = Field(min_length=1)
    legend: Legend
    valueLabels: Literal["hide", "show"]
    fittingFunction: Literal["None", "Linear", "Zero", "Carry", "Lookahead"]
    axisTitlesVisibilitySettings: Axes
    tickLabelsVisibilitySettings: Axes
    gridlinesVisibilitySettings: Axes
    yLeftExtent: Extent
    yRightExtent: Extent


class LensState(_Strict):
    visualization: Xy
    query: Query
    filters: list[Any]
    datasourceStates: DatasourceStates
    internalReferences: list[Reference]
    adHocDataViews: dict[str, Any]

    @model_validator(mode="after")
    def _drawn_from_what_is_there(self) -> LensState:
        for layer in self.visualization.layers:
            columns = self.datasourceStates.formBased.layers[layer.layerId].columns
            buckets = {layer.xAccessor} | ({layer.splitAccessor} if layer.splitAccessor else set())
            assert {name for name, one in columns.items() if one.isBucketed} == buckets
            assert {name for name, one in columns.items() if not one.isBucketed} == set(layer.accessors)
        return self


class LensAttributes(_Strict):
    title: str
    description: str = ""
    visualizationType: Literal["lnsXY"]
    state: LensState


class GridData(_Strict):
    x: int = Field(ge=0, le=47)
    y: int = Field(ge=0)
    w: int = Field(ge=1, le=48)
    h: int = Field(ge=1)
    i: str


class Embeddable(_Strict):
    enhancements: dict[str, Any] = {}


class Panel(_Strict):
    version: str
    type: Literal["lens", "search"]
    panelIndex: str
    gridData: GridData
    embeddableConfig: Embeddable
    panelRefName: str


class DashboardOptions(_Strict):
    useMargins: bool
    syncColors: bool
    syncCursor: bool
    syncTooltips: bool
    hidePanelTitles: bool


class RefreshInterval(_Strict):
    pause: bool
    value: int


class DashboardAttributes(_Strict):
    title: str
    description: str = ""
    kibanaSavedObjectMeta: SearchSourceMeta
    panelsJSON: Annotated[list[Panel], BeforeValidator(_parsed)]
    optionsJSON: Annotated[DashboardOptions, BeforeValidator(_parsed)]
    timeRestore: bool = False
    timeFrom: str | None = None
    timeTo: str | None = None
    refreshInterval: RefreshInterval | None = None
    version: int = 1


class _Object(_Strict):
    id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    references: list[Reference]
    coreMigrationVersion: Literal["8.8.0"]
    managed: Literal[False]


class DataView(_Object):
    type: Literal["index-pattern"]
    typeMigrationVersion: Literal["8.0.0"]
    attributes: DataViewAttributes


class Session(_Object):
    type: Literal["search"]
    typeMigrationVersion: Literal["8.0.0"]
    attributes: SearchAttributes


class Lens(_Object):
    type: Literal["lens"]
    typeMigrationVersion: Literal["8.9.0"]
    attributes: LensAttributes


class Dashboard(_Object):
    type: Literal["dashboard"]
    typeMigrationVersion: Literal["8.9.0"]
    attributes: DashboardAttributes


AnyObject = Annotated[DataView | Session | Lens | Dashboard, Field(discriminator="type")]
_OBJECTS: TypeAdapter[list[DataView | Session | Lens | Dashboard]] = TypeAdapter(list[AnyObject])


def read_export(lines: bytes) -> list[DataView | Session | Lens | Dashboard]:
    """Read an export as Kibana does: an object a line, each of the shape of its type."""
    return _OBJECTS.validate_python([json.loads(line) for line in lines.decode().splitlines()])


def check_references(objects: list[DataView | Session | Lens | Dashboard]) -> None:
    """Every reference names an object before it, and every place that needs a reference has one."""
    before: set[tuple[str, str]] = set()
    for one in objects:
        assert {(found.type, found.id) for found in one.references} <= before, one.id
        names = {found.name: found.type for found in one.references}
        if isinstance(one, Session):
            assert names == {
                str(one.attributes.kibanaSavedObjectMeta.searchSourceJSON.indexRefName): "index-pattern"
            }
        elif isinstance(one, Lens):
            layers = one.attributes.state.datasourceStates.formBased.layers
            assert names == {f"indexpattern-datasource-layer-{layer}": "index-pattern" for layer in layers}
        elif isinstance(one, Dashboard):
            panels = one.attributes.panelsJSON
            assert names == {f"{panel.panelIndex}:{panel.panelRefName}": panel.type for panel in panels}
        else:
            assert not names
        assert (one.type, one.id) not in before, "no id twice"
        before.add((one.type, one.id))


def check_layout(dashboard: Dashboard) -> None:
    """No panel lies on another, none leaves the grid, and none is named twice."""
    cells: set[tuple[int, int]] = set()
    for panel in dashboard.attributes.panelsJSON:
        place = panel.gridData
        assert place.i == panel.panelIndex
        assert place.x + place.w <= 48
        own = {(x, y) for x in range(place.x, place.x + place.w) for y in range(place.y, place.y + place.h)}
        assert not cells & own
        cells |= own
    assert len({panel.panelIndex for panel in dashboard.attributes.panelsJSON}) == len(
        dashboard.attributes.panelsJSON
    )
