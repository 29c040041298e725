package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// board is a dashboard: what a person looks at for one question.
type board struct {
	uid, title, description string
	filters                 []variable
	rows                    []row
}

// row is a headline with its panels.
type row struct {
	title  string
	panels []panel
}

// panel shows one figure, or its course. Its queries return a value at all times,
// also for a mirror without requests: see zero.
type panel struct {
	title, unit string
	description string // what it shows, and what a bad value means
	queries     []query
	levels      []level // of a figure: from which value it has another color
	graph       bool
}

type query struct{ expr, legend string }

type level struct {
	color string
	from  float64 // of the first level it is not used
}

// figure returns a panel with one figure for the whole time shown.
func figure(title, unit, description string, levels []level, queries ...query) panel {
	return panel{title: title, unit: unit, description: description, queries: queries, levels: levels}
}

// graph returns a panel with curves.
func graph(title, unit, description string, queries ...query) panel {
	return panel{title: title, unit: unit, description: description, queries: queries, graph: true}
}

// selectors stand for the matchers of the variables in an expression.
var selectors = strings.NewReplacer(
	"MIRROR", `job=~"$job", instance=~"$instance"`,
	"UPSTREAM", `job=~"$job", instance=~"$instance", upstream=~"$upstream"`,
)

func q(expr, legend string) query { return query{selectors.Replace(expr), legend} }

// zero returns expr with 0 for when it has no value; then label has this value.
func zero(expr, label, value string) string {
	return expr + ` or on () label_replace(vector(0), "` + label + `", "` + value + `", "", "")`
}

const (
	statHeight, statWidth   = 4, 4
	graphHeight, graphWidth = 8, 8
)

// build returns the dashboard as Grafana has it.
func (b board) build() (dashboard.Dashboard, error) {
	built := dashboard.NewDashboardBuilder(b.title).
		Uid(b.uid).
		Description(b.description).
		Tags([]string{"mirrord", "registry"}).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time("now-6h", "now").
		Refresh("1m").
		Link(dashboard.NewDashboardLinkBuilder("mirrord").
			Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"mirrord"}).AsDropdown(true).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	for _, v := range b.filters {
		built.WithVariable(v.build())
	}
	var id uint32
	for _, r := range b.rows {
		id++
		built.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		for _, p := range r.panels {
			id++
			built.WithPanel(p.build(id))
		}
	}
	return built.Build()
}

// variable is a label by which a person filters.
type variable struct{ name, label, values string }

var (
	job      = variable{"job", "Job", `label_values(mirrord_build_info, job)`}
	instance = variable{"instance", "Mirror", `label_values(mirrord_build_info{job=~"$job"}, instance)`}
	upstream = variable{"upstream", "Upstream", `label_values(mirrord_upstream_hosts_failing{job=~"$job", instance=~"$instance"}, upstream)`}
)

func (v variable) build() cog.Builder[dashboard.VariableModel] {
	all := dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}
	name := dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}
	return dashboard.NewQueryVariableBuilder(v.name).
		Label(v.label).
		Datasource(source()).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": v.values, "refId": "V"}}).
		Definition(v.values).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		AllValue(".*").
		Current(dashboard.VariableOption{Text: name, Value: all})
}

// source is the data source that the person has chosen.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func (p panel) build(id uint32) cog.Builder[dashboard.Panel] {
	if p.graph {
		return p.buildGraph(id)
	}
	built := stat.NewPanelBuilder().
		Id(id).Title(p.title).Description(p.description).Datasource(source()).Unit(p.unit).
		Height(statHeight).Span(statWidth).
		ColorMode(common.BigValueColorModeValue).
		GraphMode(common.BigValueGraphModeNone).
		TextMode(p.textMode()).
		Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		Thresholds(thresholds(p.levels))
	for i, q := range p.queries {
		built.WithTarget(q.build(i).Instant())
	}
	return built
}

// textMode shows the name of a figure if there may be several.
func (p panel) textMode() common.BigValueTextMode {
	for _, q := range p.queries {
		if strings.Contains(q.legend, "{{") {
			return common.BigValueTextModeValueAndName
		}
	}
	return common.BigValueTextModeValue
}

func (p panel) buildGraph(id uint32) cog.Builder[dashboard.Panel] {
	built := timeseries.NewPanelBuilder().
		Id(id).Title(p.title).Description(p.description).Datasource(source()).Unit(p.unit).
		Height(graphHeight).Span(graphWidth).
		Min(0).
		LineWidth(1).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range p.queries {
		built.WithTarget(q.build(i).Range())
	}
	return built
}

func (q query) build(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		RefId(string(rune('A' + i))).Datasource(source()).Expr(q.expr).LegendFormat(q.legend)
}

func thresholds(levels []level) *dashboard.ThresholdsConfigBuilder {
	var steps []dashboard.Threshold
	for i, l := range levels {
		step := dashboard.Threshold{Color: l.color}
		if i > 0 {
			step.Value = &l.from
		}
		steps = append(steps, step)
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}
