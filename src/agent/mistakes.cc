#include "agent/mistakes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/graph.h"
#include "agent/resource.h"

namespace consort::agent {
namespace {

// What there is in the agent's folder, besides the history (shell.h).
constexpr std::array<std::string_view, 12> kOwn = {
    "state",    "objects", "backups",    "services",   "daemons", "commands",
    "identity", "secrets", "trust.json", "access.nft", "reserve", "lock"};

// The agent's folder holds what it needs to keep this host, and the data of all services.
Status check_claim(const HostIdentity& host, const ServiceFiles& files, const std::string& path) {
  const std::string data = host.data.string();
  const std::string root = host.root == "/" ? "" : host.root.string();
  for (const std::string& real : {path, root + path}) {
    if (real.starts_with(files.folder().string() + "/")) continue;
    const bool its = std::any_of(kOwn.begin(), kOwn.end(), [&](const auto& name) {
      const std::string folder = data + "/" + std::string(name);
      return real == folder || real.starts_with(folder + "/");
    });
    if (real != data && !its) continue;
    return fail(ErrorCode::refused, fmt::format("{} belongs to the agent", path))
        .hint(fmt::format("below {} a service may use its own folders alone: ${{service.data}}, "
                          "${{service.run}}, ${{service.dir}}",
                          data));
  }
  return {};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// Parsers say "resources.NAME.field": that is put where it is in the site.
Error relocated(const Error& error, const std::string& from, const std::string& to) {
  Error out(error.code(), replaced(error.message(), from, to));
  for (const std::string& context : error.contexts()) out.add_context(replaced(context, from, to));
  if (error.span()) out = std::move(out).at(*error.span());
  return std::move(out).hint(error.hint_text());
}

class Examination {
 public:
  Examination(const HostIdentity& host, const Version& version)
      : host_(host), version_(version), files_(host, version.manifest.service) {
    const std::string& service = version.manifest.service;
    place_ =
        service.starts_with("class:") ? "hostClasses." + service.substr(6) : "services." + service;
  }

  std::vector<Error> run() {
    for (const auto& [name, spec] : version_.manifest.resources)
      take(name_on_host(version_.manifest.service, name), spec,
           fmt::format("{}.resources.{}", place_, name));
    if (version_.manifest.daemon) {
      Json spec = *version_.manifest.daemon;
      if (spec.is_object()) spec["type"] = "daemon";
      take(version_.manifest.service, spec, place_ + ".daemon");
    }
    // Of the others, which are not read, nothing is known.
    if (mistakes_.empty()) {
      if (auto graph = build_graph(resources_); !graph)
        mistakes_.push_back(relocated(graph.error(),
                                      fmt::format("resources.{}.", version_.manifest.service),
                                      place_ + ".resources.")
                                .context(fmt::format("in {}.resources", place_)));
    }
    return std::move(mistakes_);
  }

 private:
  void take(const std::string& name, const Json& spec, const std::string& place) {
    if (auto status = examine(name, spec, place); !status)
      mistakes_.push_back(std::move(status).error());
  }

  Status examine(const std::string& name, const Json& spec, const std::string& place) {
    const Json filled = with_names_on_host(version_.manifest.service,
                                           TRY(files_.fill_resource(spec, version_, place)));
    auto resource = parse_resource(name, filled, host_.root);
    if (!resource) return fail(relocated(resource.error(), "resources." + name, place));
    for (const std::string& claim : (*resource)->claims()) {
      if (!claim.starts_with('/')) continue;
      if (auto status = check_claim(host_, files_, claim); !status)
        return fail(std::move(status).error().context("in " + place));
    }
    resources_.push_back(std::move(*resource));
    return {};
  }

  const HostIdentity& host_;
  const Version& version_;
  ServiceFiles files_;
  std::string place_;
  std::vector<std::unique_ptr<Resource>> resources_;
  std::vector<Error> mistakes_;
};

}  // namespace

std::vector<Error> mistakes_of(const HostIdentity& host, const Version& version) {
  return Examination(host, version).run();
}

}  // namespace consort::agent
