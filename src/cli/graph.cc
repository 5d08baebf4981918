// consort graph: the services in dependency order.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/context.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "plan/plan.h"

namespace consort::cli {
namespace {

using Services = std::map<std::string, plan::ServiceRecord>;
using Levels = std::map<std::string, int>;

std::string_view kind_name(plan::Edge::Kind kind) {
  constexpr std::array<std::string_view, 3> names = {"needs", "uses", "after"};
  return names.at(static_cast<std::size_t>(kind));
}

Json graph_json(const Services& services, const Levels& levels) {
  Json nodes = Json::array();
  Json edges = Json::array();
  for (const auto& [name, record] : services) {
    nodes.push_back(Json::object({{"service", name},
                                  {"hostClass", record.host_class},
                                  {"hosts", Json::array_of(record.hosts)},
                                  {"level", levels.at(name)}}));
    for (const plan::Edge& edge : record.edges)
      edges.push_back(
          Json::object({{"from", name},
                        {"to", edge.service},
                        {"kind", kind_name(edge.kind)},
                        {"endpoint", edge.endpoint.empty() ? Json() : Json(edge.endpoint)}}));
  }
  return Json::object({{"services", nodes}, {"edges", edges}});
}

std::string graph_dot(const std::string& site, const Services& services) {
  std::string out = fmt::format("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", site);
  for (const auto& [name, record] : services) {
    out += fmt::format("  \"{}\" [label=\"{}\\n{}\"];\n", name, name, record.host_class);
    for (const plan::Edge& edge : record.edges) {
      out += fmt::format("  \"{}\" -> \"{}\"{};\n", name, edge.service,
                         edge.kind == plan::Edge::Kind::uses    ? " [style=dashed]"
                         : edge.kind == plan::Edge::Kind::after ? " [style=dotted]"
                                                                : "");
    }
  }
  return out + "}\n";
}

Cells graph_row(const std::string& name, const plan::ServiceRecord& record) {
  std::vector<std::string> edges;
  for (const plan::Edge& edge : record.edges)
    edges.push_back(fmt::format("{} {}{}", kind_name(edge.kind), edge.service,
                                edge.endpoint.empty() ? "" : "/" + edge.endpoint));
  return {name,
          fmt::format("on {} ({} host{})", record.host_class, record.hosts.size(),
                      record.hosts.size() == 1 ? "" : "s"),
          edges.empty() ? "" : paint(Colour::dim, join(edges, ", "))};
}

std::string graph_text(const Services& services, const Levels& levels) {
  int top = 0;
  for (const auto& [name, level] : levels) top = std::max(top, level);
  std::vector<Cells> rows;
  for (const auto& [name, record] : services) rows.push_back(graph_row(name, record));
  const std::vector<std::size_t> widths = column_widths(rows);
  std::string out;
  for (int level = 0; level <= top; ++level) {
    out += paint(Colour::bold, fmt::format("level {}", level)) + "\n";
    for (const Cells& row : rows) {
      if (levels.at(row.front()) == level) out += lay_row(row, widths, output_width(), 2);
    }
  }
  return out;
}

Result<int> run_graph(const Arguments& arguments) {
  std::optional<http::Client> client;
  if (controller_url(arguments)) client.emplace(TRY(controller_client(arguments)));
  const Prepared prepared = TRY(prepare(arguments, client ? &*client : nullptr));
  const Services& services = prepared.compiled.generation.services;
  const Levels levels = TRY(plan::service_levels(services));
  if (arguments.json()) {
    print(graph_json(services, levels).dump() + "\n");
  } else if (arguments.has("--dot")) {
    print(graph_dot(prepared.site.name, services));
  } else {
    print(graph_text(services, levels));
  }
  return kOk;
}

}  // namespace

Command graph_command() {
  return {"graph",
          "Show the services in dependency order.",
          "",
          {},
          {site_option(),
           no_exec_option(),
           {"--dot", "", "As Graphviz."},
           {"--keep-going", "", "Leave broken services out."}},
          run_graph,
          false,
          false,
          "consort graph --dot | dot -Tsvg > site.svg"};
}
}  // namespace consort::cli
