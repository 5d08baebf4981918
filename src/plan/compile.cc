#include "plan/compile.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/address_range.h"
#include "base/selector.h"
#include "base/text.h"
#include "objects/tree.h"
#include "site/placeholder.h"

namespace consort::plan {
namespace {

constexpr std::size_t kMostHookBytes = 4U << 20U;
// The next compilation makes what a crash took, and the store replaces what is damaged: a sync for
// each of thousands of services would take a minute.
constexpr Durability kDurability = Durability::cached;

class ServiceCompiler {
 public:
  ServiceCompiler(const site::Service& service, const site::Site& site,
                  const site::EndpointTable& endpoints, const objects::ObjectStore& store)
      : service_(service), folder_(site.file.parent_path()), endpoints_(endpoints), store_(store) {
    path_ = service.name.starts_with("class:") ? "hostClasses." + service.on
                                               : "services." + service.name;
  }

  Result<Manifest> compile() {
    Manifest out;
    out.service = service_.name;
    out.host_class = service_.on;
    out.version = service_.version;
    out.data_version = service_.data_version;
    for (const auto& [name, spec] : service_.artifacts) {
      auto artifact = take_artifact(spec);
      if (!artifact)
        return fail(
            std::move(artifact).error().context(fmt::format("in {}.artifacts.{}", path_, name)));
      out.artifacts.emplace(name, *artifact);
    }
    for (const auto& [name, spec] : service_.hooks) {
      auto hook = take_hook(name, spec);
      if (!hook)
        return fail(std::move(hook).error().context(fmt::format("in {}.hooks.{}", path_, name)));
      out.hooks.emplace(name, std::move(*hook));
    }
    if (Status status = check_hooks(out); !status)
      return fail(std::move(status).error().context(fmt::format("in {}.hooks.backup", path_)));
    for (const auto& [name, spec] : service_.resources)
      out.resources.emplace(name,
                            TRY(fill(strip(spec), fmt::format("{}.resources.{}", path_, name))));
    if (service_.daemon) out.daemon = TRY(fill(*service_.daemon, path_ + ".daemon"));
    for (const auto* edges : {&service_.needs, &service_.uses}) {
      for (const auto& [name, need] : *edges) out.needs.emplace(name, parameters_of(need));
    }
    for (const auto& [name, endpoint] : service_.provides)
      out.provides.emplace(name, strip_access(strip(endpoint)));
    TRYV(check_host_placeholders(out));
    for (const auto& [name, spec] : out.resources) TRYV(find_secrets(spec, out));
    TRYV(check_after(out));
    return out;
  }

 private:
  // Purposes change nothing that runs.
  static Json strip(Json spec) {
    if (spec.is_object()) spec.as_object().erase("purpose");
    return spec;
  }

  // Who may reach a port is the host's concern, not this version's.
  static Json strip_access(Json endpoint) {
    if (endpoint.is_object()) endpoint.as_object().erase("access");
    return endpoint;
  }

  [[nodiscard]] fs::path at(const std::string& path) const {
    return fs::path(path).is_absolute() ? fs::path(path) : folder_ / path;
  }

  [[nodiscard]] Result<Artifact> take_artifact(const Json& spec) const {
    if (const Json* archive = spec.find("archive"))
      return Artifact{Artifact::Kind::tree,
                      TRY(objects::put_archive(store_, at(archive->as_string())))};
    if (const Json* folder = spec.find("folder"))
      return Artifact{Artifact::Kind::tree,
                      TRY(objects::put_folder(store_, at(folder->as_string())))};
    return Artifact{Artifact::Kind::file, TRY(store_.put_file(at(spec.string_or("file"))))};
  }

  [[nodiscard]] Result<Hook> take_hook(const std::string& name, const Json& spec) const {
    Hook out;
    const auto words = [&](std::string_view key) -> Result<std::vector<std::string>> {
      std::vector<std::string> list;
      if (const Json* items = spec.find(key); items != nullptr && items->is_array()) {
        for (const Json& word : items->as_array()) list.push_back(word.as_string());
      }
      return list;
    };
    if (const Json* script = spec.find("path")) {
      const fs::path path = at(script->as_string());
      struct stat info {};
      if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 0111) == 0) {
        return fail(ErrorCode::invalid_input, fmt::format("{} is not executable", path.string()))
            .hint(fmt::format("chmod +x {}", path.string()));
      }
      out.program = TRY(store_.put(TRY(read_file(path, kMostHookBytes)), kDurability));
      out.argv = TRY(words("args"));
    } else {
      out.argv = TRY(words("argv"));
      if (out.argv.empty()) return fail(ErrorCode::invalid_input, "argv is empty");
    }
    if (spec.find("timeout") != nullptr)
      out.timeout = TRY(parse_duration(spec.string_or("timeout")));
    out.idempotent = spec.bool_or("idempotent", true);
    out.scope = spec.string_or("scope") == "service" || name == "contract" ? Hook::Scope::service
                                                                           : Hook::Scope::instance;
    out.while_running = spec.string_or("backup") == "running";
    out.may_fail = spec.string_or("onFailure") == "continue";
    if (out.may_fail && name != "drain")
      return fail(ErrorCode::invalid_input,
                  fmt::format("onFailure: 'continue' is for drain, not for {}", name));
    if (out.scope == Hook::Scope::service && name != "migrate" && name != "contract") {
      return fail(ErrorCode::invalid_input,
                  fmt::format("scope 'service' is for migrate and contract, not for {}", name));
    }
    return out;
  }

  [[nodiscard]] const site::EndpointValue& value_of(const site::Need& need) const {
    return endpoints_.at(fmt::format("{}/{}", need.service, need.endpoint));
  }

  // What decides whether a moved provider restarts this service: with onChange 'ignore' only the
  // identity counts.
  [[nodiscard]] Json parameters_of(const site::Need& need) const {
    Json out = Json::object({{"service", need.service}, {"endpoint", need.endpoint}});
    if (!need.follow_changes) return out;
    const site::EndpointValue& value = value_of(need);
    out["addresses"] = Json::array_of(value.addresses);
    out["hosts"] = Json::array_of(value.hosts);
    out["port"] = value.port;
    return out;
  }

  [[nodiscard]] Result<std::string> need_value(std::string_view name) const {
    const std::vector<std::string> parts = split(name, '.');  // needs.sql.address
    const std::string what = parts.size() == 3 ? parts[2] : "";
    const auto found = [&]() -> const site::Need* {
      if (parts.size() != 3) return nullptr;
      if (const auto it = service_.needs.find(parts[1]); it != service_.needs.end())
        return &it->second;
      if (const auto it = service_.uses.find(parts[1]); it != service_.uses.end())
        return &it->second;
      return nullptr;
    }();
    if (found == nullptr) {
      std::set<std::string> names;
      for (const auto* edges : {&service_.needs, &service_.uses}) {
        for (const auto& [edge, need] : *edges) names.insert(edge);
      }
      const std::string guess = parts.size() > 1 ? did_you_mean(parts[1], names) : "";
      return fail(ErrorCode::invalid_input,
                  fmt::format("${{{}}}: {} declares no such need", name, path_))
          .hint(guess.empty() ? "declare it in needs or uses"
                              : fmt::format("did you mean '{}'?", guess));
    }
    const site::EndpointValue& value = value_of(*found);
    if (what == "port") return std::to_string(value.port);
    if (what == "addresses") return join(value.addresses, ",");
    if (what == "hosts") return join(value.hosts, ",");
    if (what == "address") {
      if (value.addresses.empty())
        return fail(ErrorCode::invalid_input,
                    fmt::format("${{{}}}: {} runs on no host", name, found->service));
      return value.addresses.front();
    }
    return fail(ErrorCode::invalid_input,
                fmt::format("${{{}}}: a need has address, addresses, hosts and port", name));
  }

  [[nodiscard]] Result<Json> fill(const Json& json, const std::string& path) const {
    return site::expand_all(
        json, site::PlaceholderStage::compile,
        [this](std::string_view name) { return need_value(name); }, path);
  }

  // Unknown host values are found here, not on ten thousand hosts.
  [[nodiscard]] Status check_host_placeholders(const Manifest& manifest) const {
    const auto known = [&](const std::string& name) {
      const std::string ns = name.substr(0, name.find('.'));
      const std::string key = name.substr(name.find('.') + 1);
      if (ns == "host") return key == "name" || key == "address" || key.starts_with("labels.");
      if (ns == "service") return key == "dir" || key == "data" || key == "run";
      if (ns == "artifact") return manifest.artifacts.contains(key);
      if (ns == "secret") return is_name(key);
      return ns == "fact";
    };
    const auto check = [&](const Json& json, const std::string& path) -> Status {
      for (const std::string& name :
           TRY(site::placeholders_in(json, site::PlaceholderStage::host))) {
        if (known(name)) continue;
        std::string hint =
            "known: host.name host.address host.labels.* fact.* service.dir service.data "
            "service.run artifact.* secret.*";
        if (name.starts_with("artifact.")) {
          const std::string guess = did_you_mean(name.substr(9), manifest.artifacts);
          if (!guess.empty()) hint = fmt::format("did you mean '${{artifact.{}}}'?", guess);
        }
        return fail(ErrorCode::invalid_input,
                    fmt::format("{}: there is no value ${{{}}}", path, name))
            .hint(hint);
      }
      return check_secrets(json, path);
    };
    for (const auto& [name, spec] : manifest.resources)
      TRYV(check(spec, fmt::format("{}.resources.{}", path_, name)));
    if (manifest.daemon) TRYV(check(*manifest.daemon, path_ + ".daemon"));
    for (const auto& [name, hook] : manifest.hooks)
      TRYV(check(Json::array_of(hook.argv), fmt::format("{}.hooks.{}", path_, name)));
    return {};
  }

  // Versions are filled in later.
  static Status find_secrets(const Json& spec, Manifest& out) {
    for (const std::string& name : TRY(site::placeholders_in(spec, site::PlaceholderStage::host))) {
      if (name.starts_with("secret.")) out.secrets.emplace(name.substr(7), 0);
    }
    return {};
  }

  // In a file's content alone: elsewhere a value would be seen by whoever sees what is declared.
  [[nodiscard]] static Json without_secret_places(const Json& spec) {
    if (spec.string_or("type") != "file" || spec.find("content") == nullptr) return spec;
    Json out = spec;
    out.as_object().erase("content");
    return out;
  }
  [[nodiscard]] static Status check_secrets(const Json& spec, const std::string& path) {
    for (const std::string& name :
         TRY(site::placeholders_in(without_secret_places(spec), site::PlaceholderStage::host))) {
      if (!name.starts_with("secret.")) continue;
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: ${{{}}} can only be in the content of a file", path, name))
          .hint(
              "declare a file with mode 0600 and let the program read it, as an environment file "
              "or a password file, say");
    }
    return {};
  }

  [[nodiscard]] Status check_after(const Manifest& manifest) const {
    for (const auto& [name, spec] : manifest.resources) {
      const Json* after = spec.find("after");
      if (after == nullptr || !after->is_array()) continue;
      for (const Json& other : after->as_array()) {
        if (manifest.resources.contains(other.as_string())) continue;
        const std::string guess = did_you_mean(other.as_string(), manifest.resources);
        return fail(ErrorCode::invalid_input,
                    fmt::format("{}.resources.{}.after: there is no resource '{}'", path_, name,
                                other.as_string()))
            .hint(guess.empty() ? "" : fmt::format("did you mean '{}'?", guess));
      }
    }
    return {};
  }

  const site::Service& service_;
  fs::path folder_;
  std::string path_;
  const site::EndpointTable& endpoints_;
  const objects::ObjectStore& store_;
};

// The secrets of this site, each asked for once.
class Secrets {
 public:
  Secrets(const SecretLookup& lookup, const site::Site& site) : lookup_(lookup), site_(site) {}

  // Fills in the versions; says what is in the way of using them.
  Status resolve(Manifest& manifest, const std::vector<std::string>& hosts) {
    if (!lookup_) return {};
    std::set<std::string> unset;
    for (auto& [name, version] : manifest.secrets) {
      const auto it = known_.find(name);
      const std::optional<KnownSecret>& secret =
          it != known_.end() ? it->second : known_.emplace(name, TRY(lookup_(name))).first->second;
      if (!secret)
        unset.insert(name);
      else
        version = secret->version;
    }
    if (!unset.empty()) {
      ++services_without_;
      return nobody_has_set(manifest.service, unset);
    }
    for (const auto& [name, version] : manifest.secrets)
      TRYV(check(manifest.service, name, *known_.at(name), hosts));
    return {};
  }
  // Of all services so far, where that is more than the error of one of them says.
  [[nodiscard]] std::vector<std::string> unset_beside() const {
    std::vector<std::string> out;
    if (services_without_ < 2) return out;
    for (const auto& [name, secret] : known_) {
      if (!secret) out.push_back(name);
    }
    return out;
  }

 private:
  [[nodiscard]] Failure nobody_has_set(const std::string& service,
                                       const std::set<std::string>& names) const {
    std::vector<std::string> quoted;
    std::vector<std::string> commands;
    for (const std::string& name : names) {
      quoted.push_back("'" + name + "'");
      commands.push_back(
          fmt::format("consort secret {} {}", has_source(name) ? "sync" : "set", name));
    }
    return fail(ErrorCode::not_found,
                fmt::format("the service {} uses the secret{} {}, which nobody has set", service,
                            names.size() == 1 ? "" : "s", join(quoted, ", ")))
        .hint(join(commands, "; "));
  }
  // Sealing anew does not help: there is nobody to seal it for.
  [[nodiscard]] static Failure is_revoked(const std::string& service, const std::string& name,
                                          const std::string& host) {
    return fail(ErrorCode::refused,
                fmt::format(
                    "{} is to run on {}, which was revoked: nothing is sealed for it, and it "
                    "cannot have the secret '{}'",
                    service, host, name))
        .hint(fmt::format("take {} out of the inventory; or let it come back: consort host approve "
                          "{} --key KEY (consort host show {} names the key)",
                          host, host, host));
  }
  // Whether the site says where its value comes from.
  [[nodiscard]] bool has_source(const std::string& name) const {
    return site_.secrets.contains(name);
  }

  [[nodiscard]] Status check(const std::string& service, const std::string& name,
                             const KnownSecret& secret,
                             const std::vector<std::string>& hosts) const {
    if (!std::binary_search(secret.services.begin(), secret.services.end(), service))
      return fail(ErrorCode::refused, fmt::format("the secret '{}' is for {}, not for {}", name,
                                                  join(secret.services, ", "), service))
          .hint(has_source(name)
                    ? fmt::format("whoever may set it says: consort secret sync {}", name)
                    : fmt::format("whoever may set it says: consort secret reseal {} "
                                  "--service {}",
                                  name, service));
    std::vector<std::string> blind;
    for (const std::string& host : hosts) {
      if (!std::binary_search(secret.hosts.begin(), secret.hosts.end(), host))
        blind.push_back(host);
    }
    if (blind.empty()) return {};
    for (const std::string& host : blind) {
      if (std::binary_search(secret.revoked.begin(), secret.revoked.end(), host))
        return is_revoked(service, name, host);
    }
    const std::size_t count = blind.size();
    blind.resize(std::min<std::size_t>(count, 5));
    return fail(ErrorCode::refused,
                fmt::format("the secret '{}' of {} is not sealed for {}{}", name, service,
                            join(blind, ", "),
                            count > 5 ? fmt::format(" and {} more", count - 5) : ""))
        .hint(has_source(name)
                  ? fmt::format("consort secret sync {}", name)
                  : fmt::format("consort secret reseal {}; or, if its recovery key is gone, give "
                                "the value again: consort secret set {}. A host that has not "
                                "joined has no key yet: consort host list",
                                name, name));
  }

  const SecretLookup& lookup_;
  const site::Site& site_;
  std::map<std::string, std::optional<KnownSecret>> known_;
  int services_without_ = 0;  // that use a secret which nobody has set
};

// The values of the inventory's hosts that decide what an instance is: those that it interpolates,
// and labels that a `when` looks at (facts have the same syntax; hosts have no such label then).
Result<std::vector<std::string>> host_values_of(const Manifest& manifest) {
  std::set<std::string> out;
  const auto collect = [&](const Json& json) -> Status {
    for (const std::string& name : TRY(site::placeholders_in(json, site::PlaceholderStage::host))) {
      if (name == "host.address" || name.starts_with("host.labels.")) out.insert(name.substr(5));
    }
    return {};
  };
  for (const auto& [name, spec] : manifest.resources) {
    TRYV(collect(spec));
    if (const std::string when = spec.string_or("when"); !when.empty()) {
      for (const std::string& key : TRY(Selector::parse(when)).keys()) out.insert("labels." + key);
    }
  }
  if (manifest.daemon) TRYV(collect(*manifest.daemon));
  for (const auto& [name, hook] : manifest.hooks) TRYV(collect(Json::array_of(hook.argv)));
  return std::vector<std::string>(out.begin(), out.end());
}

std::vector<Edge> edges_of(const site::Service& service) {
  std::vector<Edge> out;
  for (const auto& [name, need] : service.needs)
    out.push_back({Edge::Kind::needs, name, need.service, need.endpoint, need.quorum});
  for (const auto& [name, need] : service.uses)
    out.push_back({Edge::Kind::uses, name, need.service, need.endpoint, need.quorum});
  for (const std::string& other : service.after)
    out.push_back({Edge::Kind::after, "", other, "", 0});
  return out;
}

// The nearest word counts: the endpoint's, the service's, the site's. What may beside the
// dependents adds up.
Result<std::map<std::string, EndpointRecord>> endpoints_of(const site::Service& service,
                                                           const site::Site& site) {
  std::map<std::string, EndpointRecord> out;
  for (const auto& [name, spec] : service.provides) {
    EndpointRecord endpoint;
    endpoint.port = spec.int_or("port");
    if (endpoint.port == 0) continue;
    std::set<std::string> also;
    for (const Json* access : {&site.access, &service.access, spec.find("access")}) {
      if (access == nullptr || !access->is_object()) continue;
      if (access->find("mode") != nullptr)
        endpoint.access = TRY(access_mode_from_name(access->string_or("mode")));
      const Json* list = access->find("also");
      if (list == nullptr) continue;
      for (const Json& text : list->as_array())
        also.insert(TRY(AddressRange::parse(text.as_string())).str());
    }
    endpoint.also.assign(also.begin(), also.end());
    out.emplace(name, std::move(endpoint));
  }
  return out;
}

}  // namespace

Result<Compiled> compile(const site::Site& site, const fleet::Fleet& fleet,
                         const fleet::Placement& placement, const objects::ObjectStore& store,
                         OnBroken on_broken, const ManifestCheck& check,
                         const SecretLookup& lookup) {
  Compiled out;
  Secrets secrets(lookup, site);
  Generation& generation = out.generation;
  generation.site = site.name;
  generation.sources = site.sources;
  generation.policy = TRY(policy_from_json(site.policy, "policy"));
  generation.classes = fleet.classes;
  for (const auto& [name, host] : fleet.hosts)
    generation.hosts.emplace(name,
                             HostRecord{host.address, host.labels, fleet.classes_of.at(name)});
  const site::EndpointTable endpoints = fleet::endpoint_table(site, fleet, placement);
  out.broken = site.broken;
  for (const auto& [name, service] : site.services) {
    if (out.broken.contains(name)) continue;
    auto manifest = ServiceCompiler(service, site, endpoints, store).compile();
    if (!manifest) {
      out.broken.emplace(name, std::move(manifest).error());
      continue;
    }
    if (Status status = secrets.resolve(*manifest, placement.at(name)); !status) {
      out.broken.emplace(name, std::move(status).error());
      continue;
    }
    if (check) {
      std::vector<Error> mistakes = check(*manifest, placement.at(name));
      for (std::size_t i = 1; i < mistakes.size(); ++i)
        out.more_mistakes.emplace(name, std::move(mistakes[i]));
      if (!mistakes.empty()) {
        out.broken.emplace(name, std::move(mistakes.front()));
        continue;
      }
    }
    const Digest digest = TRY(store.put(TRY(manifest_bytes(*manifest)), kDurability));
    std::vector<std::string> host_values = TRY(host_values_of(*manifest));
    generation.services.emplace(
        name, ServiceRecord{service.on, digest, service.version, placement.at(name),
                            edges_of(service), service.purpose, service.owner,
                            std::move(host_values), TRY(endpoints_of(service, site))});
    out.manifests.emplace(digest, std::move(*manifest));
  }
  if (!out.broken.empty() && on_broken == OnBroken::refuse) {
    Error error = out.broken.begin()->second;
    if (const std::vector<std::string> unset = secrets.unset_beside(); unset.size() > 1)
      error.add_context(fmt::format("of the whole site, nobody has set: {}", join(unset, ", ")));
    error.add_context(fmt::format(
        "service {} is broken{}; with --keep-going the others are planned",
        out.broken.begin()->first,
        out.broken.size() > 1
            ? fmt::format(" (and {} more; `consort check` names them)", out.broken.size() - 1)
            : ""));
    return fail(std::move(error));
  }
  for (const auto& [name, error] : out.broken) generation.broken.emplace(name, error.message());
  return out;
}

}  // namespace consort::plan
