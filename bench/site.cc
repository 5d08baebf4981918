// evaluating a site of 100 to 5 000 services, as plain JSON and as Jsonnet
#include <fmt/format.h>
#include <sys/resource.h>

#include "bench/measure.h"
#include "site/site.h"

namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kRuns = 3;
constexpr int kClasses = 10;

std::string service_name(int i) { return fmt::format("service{}", i); }

// What a service of some size has: an endpoint, a need, a daemon, three resources, a hook.
Json plain_service(int i) {
  Json out = Json::object(
      {{"on", fmt::format("class{}", i % kClasses)},
       {"version", "1.4"},
       {"purpose", "one of many"},
       {"provides", Json::object({{"http", Json::object({{"port", 1024 + i}})}})},
       {"daemon", Json::object({{"argv", Json::Array{"/bin/serve", "--host", "${host.name}"}},
                                {"user", "www"}})},
       {"hooks", Json::object({{"validate", Json::object({{"argv", Json::Array{"/bin/true"}}})}})},
       {"resources",
        Json::object(
            {{"config", Json::object({{"type", "file"},
                                      {"path", "${service.dir}/config"},
                                      {"content", i < kClasses ? "" : "${needs.below.address}"}})},
             {"folder", Json::object({{"type", "directory"},
                                      {"path", fmt::format("/srv/service{}", i)},
                                      {"mode", "0755"}})},
             {"link", Json::object({{"type", "symlink"},
                                    {"path", fmt::format("/srv/link{}", i)},
                                    {"target", "${service.dir}"}})}})}});
  if (i >= kClasses)
    out["needs"] = Json::object(
        {{"below", Json::object({{"service", service_name(i - kClasses)}, {"endpoint", "http"}})}});
  return out;
}

std::string plain_site(int services) {
  Json out = Json::object({{"name", "bench"}});
  for (int c = 0; c < kClasses; ++c) {
    const Json hosts = Json::object({{fmt::format("host{}", c), Json::object()}});
    out["hostClasses"][fmt::format("class{}", c)] =
        Json::object({{"inventory", Json::object({{"type", "hosts"}, {"hosts", hosts}})}});
  }
  for (int i = 0; i < services; ++i) out["services"][service_name(i)] = plain_service(i);
  return out.pretty();
}

// The same services by the library's constructors; each reads what it needs from its endpoint.
std::string jsonnet_site(int services) {
  std::string out = R"(local c = import 'consort.libsonnet';
c.site('bench') {
  hostClasses: { ['class' + i]: { inventory: c.inventory.hosts({ ['host' + i]: {} }) } for i in std.range(0, 9) },
  services: {
)";
  for (int i = 0; i < services; ++i) {
    out += fmt::format(
        R"(    service{0}: c.service {{
      local below = self.needs.below,
      on: 'class{1}', version: '1.4', purpose: 'one of many',
      {2}provides: {{ http: {{ port: {3} }} }},
      daemon: c.daemon(['/bin/serve', '--host', '${{host.name}}']) {{ user: 'www' }},
      hooks: {{ validate: c.hook(['/bin/true']) }},
      resources: {{
        config: c.file('${{service.dir}}/config', {4}),
        folder: c.directory('/srv/service{0}') {{ mode: '0755' }},
        link: c.symlink('/srv/link{0}', '${{service.dir}}'),
      }},
    }},
)",
        i, i % kClasses,
        i < kClasses
            ? ""
            : fmt::format("needs: {{ below: c.endpoint('service{}', 'http') }}, ", i - kClasses),
        1024 + i, i < kClasses ? "''" : "below.url('http')");
  }
  return out + "  },\n}\n";
}

double cpu_of_children() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto in_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return in_seconds(usage.ru_utime) + in_seconds(usage.ru_stime);
}

struct Bench {
  Record record{"site"};
  TempFolder folder = must(TempFolder::create("consort-bench-site", "/dev/shm"));

  // Processor time, with that of the processes that evaluate.
  double evaluate(const std::string& name, const std::string& text, int services) {
    const fs::path file = folder.path() / name;
    must(write_file_atomic(file, text, 0644, Durability::cached));
    site::EndpointTable endpoints;
    for (int i = 0; i < services; ++i)
      endpoints.emplace(service_name(i) + "/http",
                        site::EndpointValue{{"10.0.0.1"}, {"host1"}, 1024 + i});
    std::vector<double> times;
    site::Site site;
    for (int run = 0; run < kRuns; ++run) {
      const double before = cpu_of_children();
      const Cost cost = cost_of([&] {
        site = must(site::evaluate_static(file));
        must(site::evaluate_bodies(site, endpoints));
      });
      times.push_back(cost.cpu + cpu_of_children() - before);
    }
    if (!site.broken.empty()) give_up(render_error(site.broken.begin()->second));
    return median(times);
  }
};

}  // namespace

int main() {
  Bench bench;
  double before_plain = 0;
  double before_jsonnet = 0;
  for (const int services : {100, 500, 1000, 5000}) {
    say(fmt::format("{} services", services));
    const std::string plain = plain_site(services);
    const double floor =
        median_cost(kRuns, [&] { static_cast<void>(must(parse_json(plain))); }).cpu;
    const double json = bench.evaluate("site.json", plain, services);
    const double jsonnet = bench.evaluate("site.jsonnet", jsonnet_site(services), services);
    const std::string name = fmt::format("{} services", services);
    bench.record.add({name + ", JSON", json, "s", floor, "parsing the JSON once", {}});
    const std::optional<double> goal = services == 5000 ? std::optional(10.0) : std::nullopt;
    bench.record.add({name + ", Jsonnet", jsonnet, "s", {}, "", goal});
    if (services == 1000 || services == 5000) {
      bench.record.add(
          {name + ", JSON, growth of the time", json / before_plain, "times", {}, "", {}});
      bench.record.add(
          {name + ", Jsonnet, growth of the time", jsonnet / before_jsonnet, "times", {}, "", {}});
    }
    before_plain = json;
    before_jsonnet = jsonnet;
  }
  bench.record.print();
  return 0;
}
