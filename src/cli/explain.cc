// consort explain, requisites, graph, diff: answers to "why" and "what belongs together".
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/text.h"
#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "plan/plan.h"

namespace consort::cli {
namespace {

// --- explain -------------------------------------------------------------------------------------

std::string names_of(const Json& list, std::size_t most) {
  std::string out;
  const Json::Array& items = list.as_array();
  for (std::size_t i = 0; i < std::min(items.size(), most); ++i)
    out += (i == 0 ? "" : ", ") + items[i].as_string();
  return items.size() > most ? fmt::format("{} and {} more", out, items.size() - most) : out;
}

// "sql, port 5432: enforced, from web1 (10.0.0.7), web2 (10.0.0.8); declared by shop"
void print_access(const Json& access) {
  constexpr std::size_t kShown = 8;
  for (const Json& row : access.as_array()) {
    const std::string mode = row.string_or("mode");
    std::string text = fmt::format("{}, port {}: ", row.string_or("endpoint"), row.int_or("port"));
    if (mode == "off") {
      text += "open to all";
    } else {
      const Json& from = *row.find("from");
      text += fmt::format(
          "{}, {}", mode == "enforce" ? "enforced" : "audited",
          from.as_array().empty() ? "only the host itself" : "from " + names_of(from, kShown));
    }
    if (const Json& by = *row.find("dependents"); !by.as_array().empty())
      text += "; declared by " + names_of(by, kShown);
    print("  " + text + "\n");
  }
}

Result<int> run_explain(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string name = arguments.word(0);
  const std::string service = arguments.word(1);
  const http::Response response = TRY(client.get("/v1/hosts/" + url_encode(name)));
  const Json status = TRY(client.get_json("/v1/status"));
  if (response.status == 404 && status.find("services")->find(name) == nullptr)
    return fail(http::error_of(response).hint(
        "name a host (consort host list) or a service (consort status)"));
  const bool is_host = response.ok();
  const Json log = TRY(client.get_json(
      fmt::format("/v1/log?{}={}", is_host ? "host" : "service", url_encode(name))));
  Json events = Json::array();
  for (const Json& event : log.find("events")->as_array()) {
    if (service.empty() || event.string_or("service") == service ||
        event.string_or("text").find(service) != std::string::npos)
      events.push_back(event);
  }
  Json instances = Json::array();
  for (const auto& [key, record] : status.find("services")->as_object()) {
    if (is_host ? (!service.empty() && key != service) : key != name) continue;
    for (const Json& instance : record.find("instances")->as_array()) {
      if (is_host && instance.string_or("host") != name) continue;
      Json row = instance;
      row["service"] = key;
      row["purpose"] = record.string_or("purpose");
      row["version"] = record.string_or("version");
      instances.push_back(std::move(row));
    }
  }
  if (is_host && !service.empty() && instances.as_array().empty() && events.as_array().empty())
    return fail(ErrorCode::not_found, fmt::format("there is no service '{}' on {}", service, name))
        .hint(fmt::format("see what runs there: consort explain {}", name));
  const Json* record = is_host ? nullptr : status.find("services")->find(name);
  const Json access = record != nullptr && record->find("access") != nullptr
                          ? *record->find("access")
                          : Json::array();
  if (arguments.json()) {
    print(Json::object({{"what", is_host ? "host" : "service"},
                        {"name", name},
                        {"access", access},
                        {"instances", instances},
                        {"events", events}})
              .dump() +
          "\n");
    return kOk;
  }
  for (const Json& row : instances.as_array()) {
    print(fmt::format(
        "{} on {}: {} {}{}\n",
        paint(Colour::bold,
              row.string_or("service") +
                  (row.string_or("version").empty() ? "" : " " + row.string_or("version"))),
        row.string_or("host"), row.string_or("mode"), row.string_or("health"),
        row.string_or("reason").empty() ? "" : ": " + row.string_or("reason")));
    if (!row.string_or("purpose").empty())
      print(paint(Colour::dim, "  " + row.string_or("purpose")) + "\n");
  }
  print_access(access);
  if (events.as_array().empty()) print("nothing has happened there that is still remembered\n");
  const std::size_t skip = events.as_array().size() > 40 ? events.as_array().size() - 40 : 0;
  for (std::size_t i = skip; i < events.as_array().size(); ++i) {
    const Json& event = events.as_array()[i];
    const std::vector<std::string> lines = split(event.string_or("text"), '\n');
    print(fmt::format("{}  {:<13} {:<18} {}\n",
                      paint(Colour::dim, event.string_or("at").substr(0, 19)),
                      event.string_or("kind"), event.string_or("service"), lines.front()));
    for (std::size_t l = 1; l < lines.size(); ++l)
      print(paint(Colour::dim, "    │ ") + lines[l] + "\n");
  }
  return kOk;
}

// --- requisites
// ------------------------------------------------------------------------------------

struct Requisite {
  std::string service;
  std::vector<std::string> hosts;
  std::vector<Digest> objects;
  std::uint64_t bytes = 0;
};

Result<std::vector<Requisite>> requisites_of(const Prepared& prepared,
                                             const std::set<std::string>& roots) {
  std::set<std::string> services;
  const std::function<void(const std::string&)> visit = [&](const std::string& name) {
    if (!services.insert(name).second) return;
    const plan::ServiceRecord& record = prepared.compiled.generation.services.at(name);
    for (const plan::Edge& edge : record.edges) {
      if (edge.kind != plan::Edge::Kind::after &&
          prepared.compiled.generation.services.contains(edge.service))
        visit(edge.service);
    }
    const std::string base = site::base_service(record.host_class);
    if (prepared.compiled.generation.services.contains(base)) visit(base);
  };
  for (const std::string& root : roots) visit(root);
  std::vector<Requisite> out;
  for (const std::string& name : services) {
    const plan::ServiceRecord& record = prepared.compiled.generation.services.at(name);
    Requisite requisite{name, record.hosts,
                        TRY(plan::manifest_closure(prepared.store, record.manifest)), 0};
    for (const Digest& digest : requisite.objects)
      requisite.bytes += TRY(prepared.store.size(digest));
    out.push_back(std::move(requisite));
  }
  return out;
}

Result<int> run_requisites(const Arguments& arguments) {
  std::optional<http::Client> client;
  if (controller_url(arguments)) client.emplace(TRY(controller_client(arguments)));
  const Prepared prepared = TRY(prepare(arguments, client ? &*client : nullptr));
  const auto& generation = prepared.compiled.generation;
  const std::string name = arguments.word(0);
  std::set<std::string> roots;
  if (generation.services.contains(name)) roots.insert(name);
  if (name.empty()) {
    for (const auto& [service, record] : generation.services) roots.insert(service);
  }
  for (const auto& [service, record] : generation.services) {
    if (std::find(record.hosts.begin(), record.hosts.end(), name) != record.hosts.end() ||
        (record.host_class == name && !generation.services.contains(name)))
      roots.insert(service);
  }
  if (roots.empty()) {
    std::set<std::string> names;
    for (const auto& [service, record] : generation.services) names.insert(service);
    for (const auto& [host, record] : generation.hosts) names.insert(host);
    const std::string guess = did_you_mean(name, names);
    return fail(ErrorCode::not_found,
                fmt::format("'{}' is no service, host or host class of this site", name))
        .hint(guess.empty() ? "" : fmt::format("did you mean '{}'?", guess));
  }
  const std::vector<Requisite> requisites = TRY(requisites_of(prepared, roots));
  std::set<Digest> all;
  std::uint64_t bytes = 0;
  Json json = Json::array();
  for (const Requisite& requisite : requisites) {
    Json::Array objects;
    for (const Digest& digest : requisite.objects) {
      objects.emplace_back(digest.str());
      if (all.insert(digest).second) bytes += TRY(prepared.store.size(digest));
    }
    json.push_back(
        Json::object({{"service", requisite.service},
                      {"hosts", Json::array_of(requisite.hosts)},
                      {"manifest", generation.services.at(requisite.service).manifest.str()},
                      {"objects", objects},
                      {"bytes", requisite.bytes}}));
  }
  if (arguments.json()) {
    print(Json::object({{"of", name.empty() ? Json() : Json(name)},
                        {"requisites", json},
                        {"objects", all.size()},
                        {"bytes", bytes}})
              .dump() +
          "\n");
    return kOk;
  }
  for (const Requisite& requisite : requisites) {
    print(fmt::format("{}  on {}  ({} objects, {:.1f} kB)\n",
                      paint(Colour::bold, requisite.service), join(requisite.hosts, ", "),
                      requisite.objects.size(), static_cast<double>(requisite.bytes) / 1e3));
    for (const Digest& digest : requisite.objects) print(fmt::format("  {}\n", digest.str()));
  }
  print(fmt::format("{} objects, {:.1f} kB altogether\n", all.size(),
                    static_cast<double>(bytes) / 1e3));
  return kOk;
}

// --- graph
// --------------------------------------------------------------------------------------------

Result<int> run_graph(const Arguments& arguments) {
  std::optional<http::Client> client;
  if (controller_url(arguments)) client.emplace(TRY(controller_client(arguments)));
  const Prepared prepared = TRY(prepare(arguments, client ? &*client : nullptr));
  const auto& services = prepared.compiled.generation.services;
  const auto levels = TRY(plan::service_levels(services));
  constexpr std::array<std::string_view, 3> kinds = {"needs", "uses", "after"};
  if (arguments.json()) {
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
                          {"kind", kinds.at(static_cast<std::size_t>(edge.kind))},
                          {"endpoint", edge.endpoint.empty() ? Json() : Json(edge.endpoint)}}));
    }
    print(Json::object({{"services", nodes}, {"edges", edges}}).dump() + "\n");
    return kOk;
  }
  if (arguments.has("--dot")) {
    std::string out =
        fmt::format("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", prepared.site.name);
    for (const auto& [name, record] : services) {
      out += fmt::format("  \"{}\" [label=\"{}\\n{}\"];\n", name, name, record.host_class);
      for (const plan::Edge& edge : record.edges) {
        out += fmt::format("  \"{}\" -> \"{}\"{};\n", name, edge.service,
                           edge.kind == plan::Edge::Kind::uses    ? " [style=dashed]"
                           : edge.kind == plan::Edge::Kind::after ? " [style=dotted]"
                                                                  : "");
      }
    }
    print(out + "}\n");
    return kOk;
  }
  int top = 0;
  for (const auto& [name, level] : levels) top = std::max(top, level);
  for (int level = 0; level <= top; ++level) {
    print(paint(Colour::bold, fmt::format("level {}", level)) + "\n");
    for (const auto& [name, record] : services) {
      if (levels.at(name) != level) continue;
      std::vector<std::string> edges;
      for (const plan::Edge& edge : record.edges)
        edges.push_back(fmt::format("{} {}{}", kinds.at(static_cast<std::size_t>(edge.kind)),
                                    edge.service,
                                    edge.endpoint.empty() ? "" : "/" + edge.endpoint));
      print(fmt::format("  {:<20} on {} ({} host{}){}\n", name, record.host_class,
                        record.hosts.size(), record.hosts.size() == 1 ? "" : "s",
                        edges.empty() ? "" : paint(Colour::dim, "  " + join(edges, ", "))));
    }
  }
  return kOk;
}

// --- diff
// ----------------------------------------------------------------------------------------------

Result<plan::Generation> generation_at(http::Client& client, const std::string& number) {
  return plan::generation_from_json(TRY(client.get_json("/v1/generations/" + url_encode(number))));
}

Result<int> run_diff(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const objects::ObjectStore store = TRY(local_store());
  plan::Generation before;
  plan::Generation after;
  if (arguments.words.size() == 2) {
    before = TRY(generation_at(client, arguments.word(0)));
    after = TRY(generation_at(client, arguments.word(1)));
  } else {
    before = TRY(generation_at(client, arguments.word(0, "current")));
    after = TRY(prepare(arguments, &client)).compiled.generation;
  }
  std::set<std::string> names;
  for (const auto* generation : {&before, &after}) {
    for (const auto& [name, record] : generation->services) names.insert(name);
  }
  Json out = Json::array();
  for (const std::string& name : names) {
    const auto old_record = before.services.find(name);
    const auto new_record = after.services.find(name);
    Json row = Json::object({{"service", name}, {"change", nullptr}, {"changes", Json::array()}});
    if (old_record == before.services.end() || new_record == after.services.end()) {
      row["change"] = old_record == before.services.end() ? "added" : "removed";
    } else if (old_record->second.manifest != new_record->second.manifest) {
      row["change"] = "changed";
      for (const Digest& digest : {old_record->second.manifest, new_record->second.manifest})
        TRYV(download(client, store, digest));
      for (const plan::Change& change :
           plan::manifest_changes(TRY(plan::get_manifest(store, old_record->second.manifest)),
                                  TRY(plan::get_manifest(store, new_record->second.manifest)))) {
        row["changes"].push_back(Json::object({{"path", change.path}, {"diff", change.diff}}));
      }
    } else if (old_record->second.hosts != new_record->second.hosts) {
      row["change"] = "moved";
    } else {
      continue;
    }
    out.push_back(std::move(row));
  }
  if (arguments.json()) {
    print(Json::object({{"before", before.number},
                        {"after", after.number == 0 ? Json() : Json(after.number)},
                        {"services", out}})
              .dump() +
          "\n");
    return out.as_array().empty() ? kOk : kChanges;
  }
  for (const Json& row : out.as_array()) {
    print(fmt::format("{} {}\n", paint(Colour::bold, row.string_or("service")),
                      row.string_or("change")));
    for (const Json& change : row.find("changes")->as_array()) {
      const std::vector<std::string> lines = split(change.string_or("diff"), '\n');
      print(fmt::format("  {}{}\n", change.string_or("path"),
                        lines.size() == 1 ? ": " + lines.front() : ":"));
      for (std::size_t i = 0; lines.size() > 1 && i < lines.size(); ++i) {
        if (!lines[i].empty())
          print("    " +
                paint(lines[i][0] == '+'   ? Colour::green
                      : lines[i][0] == '-' ? Colour::red
                                           : Colour::dim,
                      lines[i]) +
                "\n");
      }
    }
  }
  if (out.as_array().empty()) print("no difference\n");
  return out.as_array().empty() ? kOk : kChanges;
}

}  // namespace

Command explain_command() {
  return {"explain",
          "Tell how a host or service is, and what happened to it, when and why.",
          "",
          {{"NAME", "A host or a service.", Positional::Count::one},
           {"SERVICE", "Of a host: only this service.", Positional::Count::optional}},
          {},
          run_explain,
          false,
          false,
          "consort explain web1 shop"};
}
Command requisites_command() {
  return {"requisites",
          "List the exact closure of a service, host or class, across hosts.",
          "All objects that it needs at run time, and those of every service that it needs on "
          "other hosts. Without a name: of the whole site.",
          {{"NAME", "A service, host or host class.", Positional::Count::optional}},
          {site_option(), {"--keep-going", "", "Leave broken services out."}},
          run_requisites,
          false,
          false,
          "consort requisites shop"};
}
Command graph_command() {
  return {"graph",
          "Show the services in dependency order.",
          "",
          {},
          {site_option(),
           {"--dot", "", "As Graphviz."},
           {"--keep-going", "", "Leave broken services out."}},
          run_graph,
          false,
          false,
          "consort graph --dot | dot -Tsvg > site.svg"};
}
Command diff_command() {
  return {"diff",
          "Show what differs between two generations, or between one and the site.",
          "Exit status 0: nothing; 2: something.",
          {{"GENERATION", "A number or 'current'; two numbers compare each other.",
            Positional::Count::optional},
           {"OTHER", "The second generation.", Positional::Count::optional}},
          {site_option(), {"--keep-going", "", "Leave broken services out."}},
          run_diff,
          false,
          false,
          "consort diff 3 4"};
}

}  // namespace consort::cli
