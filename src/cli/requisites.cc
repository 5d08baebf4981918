// consort requisites: the exact closure of something, across hosts.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/text.h"
#include "cli/context.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

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

// The services that the name stands for: a service, those of a host, those of a host class; all of
// them for "".
Result<std::set<std::string>> roots_of(const plan::Generation& generation,
                                       const std::string& name) {
  std::set<std::string> roots;
  if (generation.services.contains(name)) roots.insert(name);
  for (const auto& [service, record] : generation.services) {
    if (name.empty() ||
        std::find(record.hosts.begin(), record.hosts.end(), name) != record.hosts.end() ||
        (record.host_class == name && !generation.services.contains(name)))
      roots.insert(service);
  }
  if (!roots.empty() || name.empty()) return roots;
  std::set<std::string> names;
  for (const auto& [service, record] : generation.services) names.insert(service);
  for (const auto& [host, record] : generation.hosts) names.insert(host);
  const std::string guess = did_you_mean(name, names);
  return fail(ErrorCode::not_found,
              fmt::format("'{}' is no service, host or host class of this site", name))
      .hint(guess.empty() ? "see the site's services and hosts with: consort graph"
                          : fmt::format("did you mean '{}'?", guess));
}

struct Sum {
  std::size_t objects = 0;
  std::uint64_t bytes = 0;
};

// Objects that several services need count once.
Result<Sum> sum_of(const Prepared& prepared, const std::vector<Requisite>& requisites) {
  std::set<Digest> all;
  Sum out;
  for (const Requisite& requisite : requisites) {
    for (const Digest& digest : requisite.objects) {
      if (all.insert(digest).second) out.bytes += TRY(prepared.store.size(digest));
    }
  }
  out.objects = all.size();
  return out;
}

Json requisites_json(const plan::Generation& generation, const std::string& name,
                     const std::vector<Requisite>& requisites, const Sum& sum) {
  Json rows = Json::array();
  for (const Requisite& requisite : requisites) {
    Json::Array objects;
    for (const Digest& digest : requisite.objects) objects.emplace_back(digest.str());
    rows.push_back(
        Json::object({{"service", requisite.service},
                      {"hosts", Json::array_of(requisite.hosts)},
                      {"manifest", generation.services.at(requisite.service).manifest.str()},
                      {"objects", objects},
                      {"bytes", requisite.bytes}}));
  }
  return Json::object({{"of", name.empty() ? Json() : Json(name)},
                       {"requisites", rows},
                       {"objects", sum.objects},
                       {"bytes", sum.bytes}});
}

Result<int> run_requisites(const Arguments& arguments) {
  std::optional<http::Client> client;
  if (controller_url(arguments)) client.emplace(TRY(controller_client(arguments)));
  const Prepared prepared = TRY(prepare(arguments, client ? &*client : nullptr));
  const plan::Generation& generation = prepared.compiled.generation;
  const std::string name = arguments.word(0);
  const std::set<std::string> roots = TRY(roots_of(generation, name));
  const std::vector<Requisite> requisites = TRY(requisites_of(prepared, roots));
  const Sum sum = TRY(sum_of(prepared, requisites));
  if (arguments.json()) {
    print(requisites_json(generation, name, requisites, sum).dump() + "\n");
    return kOk;
  }
  for (const Requisite& requisite : requisites) {
    const std::string head = fmt::format("{}  on {}  ({})", paint(Colour::bold, requisite.service),
                                         join(requisite.hosts, ", "),
                                         shown_objects(requisite.objects.size(), requisite.bytes));
    print(wrap(head, output_width(), 0, "    ") + "\n");
    for (const Digest& digest : requisite.objects) print(fmt::format("  {}\n", digest.str()));
  }
  print(fmt::format("{} altogether\n", shown_objects(sum.objects, sum.bytes)));
  return kOk;
}

}  // namespace

Command requisites_command() {
  return {"requisites",
          "List the exact closure of a service, host or class, across hosts.",
          "All objects that it needs at run time, and those of every service that it needs on "
          "other hosts. Without a name: of the whole site.",
          {{"SERVICE|HOST|CLASS", "What to look at.", Positional::Count::optional}},
          {site_option(), {"--keep-going", "", "Leave broken services out."}},
          run_requisites,
          false,
          false,
          "consort requisites shop"};
}
}  // namespace consort::cli
