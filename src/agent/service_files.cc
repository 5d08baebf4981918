#include "agent/service_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>

#include "agent/real_files.h"
#include "base/text.h"
#include "objects/tree.h"
#include "site/placeholder.h"

namespace consort::agent {
namespace {

Result<std::string> lookup(const LabelMap& map, std::string_view key, std::string_view kind) {
  const auto it = map.find(key);
  if (it != map.end()) return it->second;
  const std::string meant = did_you_mean(key, map);
  return fail(ErrorCode::not_found, fmt::format("this host has no {} '{}'", kind, key))
      .hint(!meant.empty()    ? fmt::format("did you mean '{}'?", meant)
            : kind == "label" ? "give it in the inventory, or start its agent with --label"
                              : "write $${ for a literal ${");
}

// The link is replaced in one step, so that nobody ever sees it missing.
Status link_to(const fs::path& link, const fs::path& target) {
  std::error_code ec;
  if (fs::read_symlink(link, ec) == target) return {};
  const fs::path fresh = link.string() + ".new";
  fs::remove(fresh, ec);
  fs::create_symlink(target, fresh, ec);
  if (!ec) fs::rename(fresh, link, ec);
  if (ec) return fail_errno(ec.value(), fmt::format("cannot link {}", link.string()));
  return {};
}

}  // namespace

LabelMap labels_for(const HostIdentity& host, const Version& version) {
  LabelMap out = host.labels;
  for (const auto& [name, value] : version.host) {
    if (name.starts_with("labels.")) out[name.substr(7)] = value;
  }
  return out;
}

std::string address_for(const HostIdentity& host, const Version& version) {
  const auto it = version.host.find("address");
  return it == version.host.end() ? host.address : it->second;
}

std::string name_on_host(const std::string& service, const std::string& resource) {
  return service + "." + resource;
}

Json with_names_on_host(const std::string& service, Json spec) {
  const Json* after = spec.find("after");
  if (after == nullptr || !after->is_array()) return spec;
  Json renamed = Json::array();
  for (const Json& other : after->as_array())
    renamed.push_back(other.is_string() ? Json(name_on_host(service, other.as_string())) : other);
  spec["after"] = renamed;
  return spec;
}

bool is_service_name(std::string_view text) {
  return is_name(text.starts_with("class:") ? text.substr(6) : text);
}

ServiceFiles::ServiceFiles(const HostIdentity& host, const std::string& service)
    : host_(host), folder_(host.data / "services" / service) {}

Status ServiceFiles::unpack(const objects::ObjectStore& store, const Version& version) const {
  for (const char* name : {"versions", "artifacts", "run"})
    TRYV(make_folders(folder_ / name, 0755));
  TRYV(make_folders(data(), 0750));
  const fs::path links = this->version(version.digest) / "artifacts";
  TRYV(make_folders(links, 0755));
  for (const auto& [name, artifact] : version.manifest.artifacts) {
    const fs::path path = this->artifact(artifact.digest);
    std::error_code ec;
    if (!fs::exists(path, ec)) {
      if (artifact.kind == plan::Artifact::Kind::tree) {
        TRYV(objects::materialise_tree(store, artifact.digest, path));
      } else {
        TRYV(store.materialise(artifact.digest, path, 0755));
      }
    }
    TRYV(link_to(links / name, path));
  }
  return {};
}

Result<bool> ServiceFiles::mend(const objects::ObjectStore& store, const plan::Artifact& artifact,
                                const std::function<bool(const std::string&)>& is_free) const {
  const fs::path path = this->artifact(artifact.digest);
  const bool is_tree = artifact.kind == plan::Artifact::Kind::tree;
  const objects::Tree tree =
      is_tree ? TRY(objects::get_tree(store, artifact.digest))
              : objects::tree_of_program(path.filename().string(), artifact.digest);
  const fs::path folder = is_tree ? path : path.parent_path();
  const objects::TreeDifferences differences =
      TRY(objects::tree_differences(tree, folder, [&](const std::string& inside) {
        const auto place = normal_path((folder / inside).string(), host_.root);
        return place && is_free(*place);
      }));
  TRYV(objects::mend_tree(store, tree, folder, differences, [&](const std::string& inside) {
    const std::string there = inside.empty() ? folder.string() : (folder / inside).string();
    const std::string aside = aside_of(there);
    return ::rename(there.c_str(), aside.c_str()) == 0
               ? Status()
               : Status(fail_errno(errno, fmt::format("cannot set {} aside", there)));
  }));
  return !differences.empty();
}

Status ServiceFiles::hand_over(const Version& version) const {
  if (::geteuid() != 0 || !version.manifest.daemon) return {};
  const std::string user = version.manifest.daemon->string_or("user");
  if (user.empty()) return {};
  const auto files = TRY(RealFiles::open(host_.root, host_.data));
  const Accounts accounts(*files, host_.root == "/");
  const RunAs as = TRY(accounts.run_as(user, version.manifest.daemon->string_or("group")));
  for (const fs::path& folder : {data(), run()}) {
    struct stat info {};
    if (::lstat(folder.c_str(), &info) == 0 && info.st_uid != as.uid &&
        ::lchown(folder.c_str(), as.uid, as.gid) != 0) {
      return fail_errno(errno, fmt::format("cannot give {} to {}", folder.string(), user));
    }
  }
  return {};
}

Result<std::uint64_t> ServiceFiles::unpacked_size(const objects::ObjectStore& store,
                                                  const plan::Manifest& manifest) const {
  std::uint64_t out = 0;
  for (const auto& [name, artifact] : manifest.artifacts) {
    std::error_code ec;
    if (fs::exists(this->artifact(artifact.digest), ec)) continue;
    if (artifact.kind == plan::Artifact::Kind::file) {
      out += TRY(store.size(artifact.digest));
      continue;
    }
    for (const auto& [path, entry] : TRY(objects::get_tree(store, artifact.digest)))
      out += entry.size + 4096;
  }
  return out;
}

Status ServiceFiles::keep_only(const std::vector<Version>& versions) const {
  std::set<std::string> keep;
  for (const Version& version : versions) {
    keep.insert("versions/" + version.digest.brief());
    for (const auto& [name, artifact] : version.manifest.artifacts)
      keep.insert("artifacts/" + artifact.digest.brief());
    for (const auto& [name, hook] : version.manifest.hooks)
      keep.insert("hooks/" + hook.program.brief());
  }
  for (const std::string kind : {"versions", "artifacts", "hooks"}) {
    for (const fs::path& path : TRY(list_folder(folder_ / kind))) {
      if (!keep.contains(kind + "/" + path.filename().string())) TRYV(remove_tree(path));
    }
  }
  return {};
}

Result<std::string> ServiceFiles::value_of(std::string_view name, const Version& version) const {
  if (name == "host.name") return host_.name;
  if (name == "host.address") return address_for(host_, version);
  if (name.starts_with("host.labels."))
    return lookup(labels_for(host_, version), name.substr(12), "label");
  if (name.starts_with("fact.")) return lookup(host_.facts, name.substr(5), "fact");
  if (name == "service.dir") return this->version(version.digest).string();
  if (name == "service.data") return data().string();
  if (name == "service.run") return run().string();
  if (name.starts_with("artifact.")) {
    const auto it = version.manifest.artifacts.find(std::string(name.substr(9)));
    if (it != version.manifest.artifacts.end()) return artifact(it->second.digest).string();
  }
  return fail(ErrorCode::invalid_input, fmt::format("there is no value ${{{}}} on this host", name))
      .hint("write $${ for a literal ${");
}

Result<Json> ServiceFiles::fill(const Json& json, const Version& version,
                                const std::string& path) const {
  return site::expand_all(
      json, site::PlaceholderStage::host,
      [&](std::string_view name) { return value_of(name, version); }, path);
}

Result<Json> ServiceFiles::fill_resource(const Json& spec, const Version& version,
                                         const std::string& path) const {
  const bool may_hold = !version.manifest.secrets.empty() && spec.string_or("type") == "file" &&
                        spec.find("content") != nullptr;
  if (!may_hold) return fill(spec, version, path);
  auto pieces = site::expand_but_secrets(
      spec.string_or("content"), [&](std::string_view name) { return value_of(name, version); });
  if (!pieces) return fail(std::move(pieces).error().context(fmt::format("in {}.content", path)));
  const bool holds = std::any_of(pieces->begin(), pieces->end(),
                                 [](const site::Piece& piece) { return !piece.secret.empty(); });
  if (!holds) return fill(spec, version, path);
  Json rest = spec;
  rest.as_object().erase("content");
  Json out = TRY(fill(rest, version, path));
  Json::Array parts;
  for (site::Piece& piece : *pieces) {
    if (piece.secret.empty()) {
      parts.push_back(Json::object({{"text", std::move(piece.text)}}));
      continue;
    }
    const auto it = version.manifest.secrets.find(piece.secret);
    if (it == version.manifest.secrets.end())
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}.content: the manifest names no secret '{}'", path, piece.secret));
    parts.push_back(Json::object({{"secret", piece.secret},
                                  {"version", it->second},
                                  {"service", version.manifest.service},
                                  {"encode", piece.encoder == site::Encoder::json    ? "json"
                                             : piece.encoder == site::Encoder::shell ? "shell"
                                                                                     : "plain"}}));
  }
  out["secretContent"] = std::move(parts);
  return out;
}

Json ServiceFiles::describe(const Version& version) const {
  Json::Object artifacts;
  for (const auto& [name, artifact] : version.manifest.artifacts)
    artifacts.emplace(name, this->artifact(artifact.digest).string());
  Json::Object labels;
  for (const auto& [key, value] : labels_for(host_, version)) labels.emplace(key, value);
  return Json::object({{"manifest", version.digest.str()},
                       {"version", version.manifest.version},
                       {"dataVersion", version.manifest.data_version},
                       {"needs", version.manifest.needs},
                       {"provides", version.manifest.provides},
                       {"service", Json::object({{"dir", this->version(version.digest).string()},
                                                 {"data", data().string()},
                                                 {"run", run().string()}})},
                       {"artifacts", artifacts},
                       {"host", Json::object({{"name", host_.name},
                                              {"address", address_for(host_, version)},
                                              {"labels", labels}})}});
}

}  // namespace consort::agent
