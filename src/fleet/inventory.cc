#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/address_range.h"
#include "base/process.h"
#include "base/text.h"
#include "fleet/fleet.h"
#include "http/client.h"

namespace consort::fleet {
namespace {

constexpr std::size_t kMostHosts = 200'000;

Result<Duration> timeout_of(const Json& inventory) {
  return parse_duration(inventory.string_or("timeout", "30s"));
}

Result<std::vector<Host>> from_file(const Json& inventory, const std::string& group,
                                    const fs::path& folder) {
  const fs::path path = folder / inventory.string_or("path");
  const std::string text = TRY(read_file(path));
  const bool is_json = path.extension() == ".json";
  const Json json =
      is_json ? TRY(parse_json(text, path.string())) : TRY(yaml_to_json(text, path.string()));
  return hosts_from_json(json, group, path.string());
}

Result<std::vector<Host>> from_program(const Json& inventory, const std::string& group,
                                       const fs::path& folder, const ResolveOptions& options) {
  std::vector<std::string> argv;
  for (const Json& word : inventory.find("argv")->as_array()) argv.push_back(word.as_string());
  if (argv.empty()) return fail(ErrorCode::invalid_input, "argv is empty");
  ProcessSpec spec = program_from(folder, std::move(argv));
  if (options.before_program) TRYV(options.before_program(spec.argv));
  spec.timeout = TRY(timeout_of(inventory));
  spec.output_limit = 64U << 20U;
  const ProcessOutcome outcome = TRY(run_process(spec));
  const std::string command = quote_argv(spec.argv);
  if (outcome.timed_out)
    return fail(ErrorCode::timeout,
                fmt::format("{} did not answer within {}", command, human_duration(spec.timeout)));
  if (!outcome.ok())
    return fail(ErrorCode::unavailable, fmt::format("{} failed with exit status {}: {}", command,
                                                    outcome.status, last_lines(outcome.errors, 5)));
  return hosts_from_json(TRY(parse_json(outcome.output, "the output of " + command)), group,
                         "the output of " + command);
}

Result<std::vector<Host>> from_url(const Json& inventory, const std::string& group) {
  const std::string url = inventory.string_or("url");
  const std::size_t scheme = url.find("://");
  const std::size_t slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  http::Client client = TRY(http::Client::create(url.substr(0, slash)));
  const http::Response response = TRY(
      client.get(slash == std::string::npos ? "/" : url.substr(slash), TRY(timeout_of(inventory))));
  if (!response.ok())
    return fail(http::error_of(response).context(fmt::format("while getting {}", url)));
  const std::string& body = response.body;
  return hosts_from_json(TRY(parse_json(body, url)), group, url);
}

Result<std::vector<Host>> from_site(const Json& inventory) {
  std::vector<Host> out;
  for (const auto& [name, item] : inventory.find("hosts")->as_object()) {
    Host host{name, item.string_or("address", name), {}};
    if (const Json* labels = item.find("labels"); labels != nullptr && labels->is_object()) {
      for (const auto& [key, value] : labels->as_object()) host.labels[key] = value.as_string();
    }
    out.push_back(std::move(host));
  }
  return out;
}

Status add_host(Fleet& fleet, Host host, const site::HostClass& host_class) {
  if (!is_name(host.name))
    return fail(ErrorCode::invalid_input,
                fmt::format("hostClasses.{}: '{}' is not a good host name", host_class.name,
                            host.name))
        .hint("letters, digits, '.', '_' and '-', beginning with a letter or digit; at most 63");
  // Without one it has its name.
  if (host.address != host.name && !is_address_or_name(host.address))
    return fail(ErrorCode::invalid_input,
                fmt::format("hostClasses.{}: the address of host {} is no IP address and no name",
                            host_class.name, host.name))
        .hint("write it like 10.0.0.7, fd00::7 or web1.example");
  for (const auto& [key, value] : host_class.labels) host.labels.try_emplace(key, value);
  auto [it, made] = fleet.hosts.try_emplace(host.name, host);
  if (!made) {
    if (it->second.address != host.address) {
      return fail(ErrorCode::conflict,
                  fmt::format("host {} has two addresses: {} and {} (class {})", host.name,
                              it->second.address, host.address, host_class.name))
          .hint("two inventories disagree, or two machines share a name");
    }
    it->second.labels.merge(host.labels);
  }
  fleet.classes_of[host.name].push_back(host_class.name);
  return {};
}

}  // namespace

Result<std::vector<Host>> read_inventory(const Json& inventory, const std::string& host_class,
                                         const fs::path& folder, const ResolveOptions& options) {
  const std::string type = inventory.string_or("type");
  const std::string group = inventory.string_or("group", host_class);
  if (type == "file") return from_file(inventory, group, folder);
  if (type == "exec") return from_program(inventory, group, folder, options);
  if (type == "http") return from_url(inventory, group);
  if (type == "hosts") return from_site(inventory);
  if (!options.registry)
    return fail(ErrorCode::unavailable, "a registry inventory needs a controller")
        .hint("name it with --controller URL or CONSORT_CONTROLLER");
  return options.registry(inventory.string_or("selector"));
}

Result<Fleet> resolve(const site::Site& site, const ResolveOptions& options) {
  Fleet fleet;
  for (const auto& [name, host_class] : site.host_classes) {
    const std::string path = fmt::format("in hostClasses.{}.inventory", name);
    auto hosts = read_inventory(host_class.inventory, name, site.file.parent_path(), options);
    if (!hosts) return fail(std::move(hosts).error().context(path));
    std::set<std::string> names;
    for (Host& host : *hosts) {
      if (!names.insert(host.name).second)
        return fail(ErrorCode::conflict, fmt::format("host {} is there twice", host.name))
            .context(path);
      TRYV(add_host(fleet, std::move(host), host_class));
    }
    if (static_cast<std::int64_t>(names.size()) < host_class.min) {
      return fail(ErrorCode::refused,
                  fmt::format("host class {} has {} host{}, fewer than its minimum of {}", name,
                              names.size(), names.size() == 1 ? "" : "s", host_class.min))
          .context(path)
          .hint("an empty inventory is usually a broken one; if it is meant, say min: 0");
    }
    if (fleet.hosts.size() > kMostHosts)
      return fail(ErrorCode::too_large, fmt::format("more than {} hosts", kMostHosts))
          .context(path);
    fleet.classes[name].assign(names.begin(), names.end());
  }
  for (auto& [host, classes] : fleet.classes_of) std::sort(classes.begin(), classes.end());
  return fleet;
}

}  // namespace consort::fleet
