// compiling and planning a fleet of 10 000 hosts and 30 services
#include <fmt/format.h>
#include <malloc.h>

#include "bench/measure.h"
#include "plan/compile.h"
#include "plan/plan.h"

namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kHosts = 10'000;
constexpr int kServices = 30;
constexpr int kClasses = 10;
constexpr int kRuns = 3;

// Ten classes of a thousand hosts, three services each; each service needs one of the layer below.
site::Site make_site(const std::string& version) {
  site::Site site;
  site.name = "bench";
  site.policy =
      Json::object({{"batches", Json::Array{1, "10%", "100%"}}, {"maxUnavailable", "10%"}});
  for (int c = 0; c < kClasses; ++c) {
    site::HostClass made;
    made.name = fmt::format("class{}", c);
    site.host_classes.emplace(made.name, made);
  }
  for (int s = 0; s < kServices; ++s) {
    site::Service service;
    service.name = fmt::format("service{:02}", s);
    service.on = fmt::format("class{}", s % kClasses);
    service.version = version;
    service.provides["http"] = Json::object({{"port", 8000 + s}});
    if (s >= kClasses)
      service.needs["below"] = {fmt::format("service{:02}", s - kClasses), "http", 1, true};
    service.daemon = Json::object(
        {{"argv", Json::Array{"/bin/serve", "--version", version, "--host", "${host.name}"}}});
    service.resources["config"] =
        Json::object({{"type", "file"},
                      {"path", "${service.dir}/config"},
                      {"content", fmt::format("service {} at {}\n", s, version)}});
    site.services.emplace(service.name, std::move(service));
  }
  return site;
}

fleet::Fleet make_fleet() {
  fleet::Fleet fleet;
  for (int h = 0; h < kHosts; ++h) {
    const std::string name = fmt::format("host{:05}", h);
    const std::string host_class = fmt::format("class{}", h % kClasses);
    fleet.hosts[name] = {name,
                         fmt::format("10.{}.{}.{}", h / 65536, h / 256 % 256, h % 256),
                         {{"datacenter", fmt::format("dc{}", h % 4)}}};
    fleet.classes[host_class].push_back(name);
    fleet.classes_of[name].push_back(host_class);
  }
  return fleet;
}

plan::Observed running(const plan::Generation& generation) {
  plan::Observed out;
  for (const auto& [name, host] : generation.hosts) out[name].reachable = true;
  for (const auto& [name, service] : generation.services) {
    for (const std::string& host : service.hosts) {
      plan::InstanceReport report;
      report.applied = plan::InstanceState{service.manifest, plan::Mode::running};
      report.health = plan::Health::healthy;
      out[host].instances[name] = report;
    }
  }
  return out;
}

struct Bench {
  explicit Bench(const objects::ObjectStore& objects) : store(objects) {}

  Record record{"plan"};
  const objects::ObjectStore& store;
  fleet::Fleet fleet = make_fleet();
  std::map<Digest, plan::Manifest> manifests;
  std::map<Digest, std::uint64_t> first;
  std::string candidate;  // as it is sent

  plan::Compiled compile(const std::string& version) {
    const site::Site site = make_site(version);
    const auto placement = must(fleet::place(site, fleet, {}));
    auto compiled = must(plan::compile(site, fleet, placement, store, plan::OnBroken::refuse));
    manifests.insert(compiled.manifests.begin(), compiled.manifests.end());
    return compiled;
  }

  void plan(const std::string& name, const plan::Generation& wanted, const plan::Generation* base,
            const plan::Observed& observed, double floor) {
    say(name);
    plan::PlanInput input;
    input.wanted = &wanted;
    input.base = base;
    input.observed = &observed;
    input.manifests = &manifests;
    input.first_deployed = &first;
    input.allow_outage = true;
    plan::Plan made;
    const Cost cost = median_cost(
        kRuns, [&] { made = must(plan::make_plan(input)); }, [&] { made = {}; });
    made = {};
    const std::size_t before = ::mallinfo2().uordblks;
    made = must(plan::make_plan(input));
    const std::size_t held = ::mallinfo2().uordblks - before;
    say("  " + plan::plan_totals(made));
    record.add({name, cost.cpu, "s", floor, "parsing the candidate's JSON", {}});
    record.add({name + ", memory", static_cast<double>(held) / 1e6, "MB", {}, "", {}});
    if (made.empty()) return;
    std::string text;
    const Cost written = median_cost(kRuns, [&] { text = plan::plan_to_json(made).dump(); });
    record.add({name + ", as JSON", written.cpu, "s", floor, "parsing the candidate's JSON", {}});
    record.add({name + ", size", static_cast<double>(text.size()) / 1e6, "MB", {}, "", {}});
  }
};

}  // namespace

int main() {
  const TempFolder folder = must(TempFolder::create("consort-bench-plan", "/dev/shm"));
  const auto store = must(objects::ObjectStore::open(folder.path()));
  Bench bench(store);
  say(fmt::format("compiling {} services for {} hosts", kServices, kHosts));
  plan::Compiled old = bench.compile("1");
  plan::Compiled next;
  const Cost compile = median_cost(kRuns, [&] { next = bench.compile("2"); });
  bench.candidate = plan::generation_to_json(next.generation).dump();
  const Cost floor =
      median_cost(kRuns, [&] { static_cast<void>(must(parse_json(bench.candidate))); });
  bench.record.add({"placement and compilation",
                    compile.cpu,
                    "s",
                    floor.cpu,
                    "parsing the candidate's JSON",
                    {}});
  bench.record.add(
      {"candidate, size", static_cast<double>(bench.candidate.size()) / 1e6, "MB", {}, "", {}});
  plan::Observed empty;
  for (const auto& [name, host] : old.generation.hosts) empty[name].reachable = true;
  const plan::Observed settled = running(old.generation);
  bench.plan("plan of no change", old.generation, &old.generation, settled, floor.cpu);
  bench.plan("plan of the first deploy", old.generation, nullptr, empty, floor.cpu);
  bench.plan("plan of an upgrade of everything", next.generation, &old.generation, settled,
             floor.cpu);
  bench.record.print();
  return 0;
}
