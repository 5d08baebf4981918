#include "agent/keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/history.h"
#include "agent/mistakes.h"

namespace consort::agent {
namespace {

constexpr std::size_t kDiffBytes = 8192;

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::create(Workshop& workshop, const std::string& service) {
  auto out = std::unique_ptr<Keeper>(new Keeper(workshop, service));
  ConvergerOptions options;
  options.root = workshop.host.root;
  options.own_folder = workshop.host.data;
  options.state_folder = workshop.host.data / "state/converge" / service;
  options.backups = &workshop.backups;
  options.artifacts = &workshop.store;
  options.supervisor = workshop.supervisor.get();
  options.secrets = workshop.secrets.get();
  options.claims = workshop.claims.get();
  options.name = service;
  out->converger_ = TRY(Converger::create(std::move(options)));
  return out;
}

namespace {

// Every daemon of a service may write the service's data and run folders, whatever else its unit
// forbids.
void let_write(Json& spec, const ServiceFiles& files) {
  Json writable = Json::array();
  if (const Json* given = spec.find("writable"); given != nullptr && given->is_array())
    writable = *given;
  for (const fs::path& folder : {files.data(), files.run()}) writable.push_back(folder.string());
  spec["writable"] = writable;
}

}  // namespace

Result<Json> Keeper::daemon_spec(const Version& version) const {
  Json spec = TRY(files_.fill(*version.manifest.daemon, version, "daemon"));
  if (!spec.is_object()) return fail(ErrorCode::invalid_input, "daemon must be an object");
  spec["type"] = "daemon";
  if (const Json* readiness = spec.find("readiness");
      readiness != nullptr && readiness->is_object() && readiness->find("address") == nullptr) {
    const std::string type = readiness->string_or("type");
    if (type == "tcp" || type == "http")
      spec["readiness"]["address"] = address_for(workshop_.host, version);
  }
  let_write(spec, files_);
  return spec;
}

Json Keeper::artifact_spec(const plan::Artifact& artifact) const {
  return Json::object({{"type", "artifact"},
                       {"path", files_.artifact(artifact.digest).string()},
                       {"kind", artifact.kind == plan::Artifact::Kind::tree ? "tree" : "file"},
                       {"digest", artifact.digest.str()}});
}

Result<std::map<std::string, Json>> Keeper::specs_of(const Version& version,
                                                     DaemonPart daemon) const {
  std::map<std::string, Json> out;
  for (const auto& [name, spec] : version.manifest.resources) {
    Json filled = TRY(files_.fill_resource(spec, version, "resources." + name));
    if (filled.string_or("type") == "daemon") let_write(filled, files_);
    out.emplace(name_of(name), with_names_on_host(service_, std::move(filled)));
  }
  for (const auto& [name, artifact] : version.manifest.artifacts)
    out.emplace(name_on_host(service_, "artifact:" + name), artifact_spec(artifact));
  if (daemon == DaemonPart::with && version.manifest.daemon)
    out.emplace(service_, TRY(daemon_spec(version)));
  return out;
}

Status Keeper::check(const Version& version) const {
  std::vector<Error> mistakes = mistakes_of(workshop_.host, version);
  if (!mistakes.empty()) return fail(std::move(mistakes.front()));
  return {};
}

Result<Keeper::Interests> Keeper::interests_of(const Version& version) const {
  std::vector<std::string> claimed;
  std::vector<std::string> owned;
  for (const auto& [name, spec] : TRY(specs_of(version, DaemonPart::without))) {
    const auto resource = TRY(parse_resource(name, spec, workshop_.host.root));
    for (std::string& claim : resource->claims()) {
      if (!claim.starts_with('/')) continue;
      if (resource->decides_below()) owned.push_back(claim);
      claimed.push_back(std::move(claim));
    }
  }
  return Interests{PathSet(std::move(claimed)), PathSet(std::move(owned))};
}

Status Keeper::announce(const std::vector<Version>& versions) const {
  std::vector<std::string> paths;
  for (const Version& version : versions) {
    for (const auto& [name, spec] : TRY(specs_of(version, DaemonPart::without))) {
      for (std::string& claim : TRY(parse_resource(name, spec, workshop_.host.root))->claims())
        if (claim.starts_with('/')) paths.push_back(std::move(claim));
    }
  }
  workshop_.claims->set(service_, std::make_shared<const PathSet>(std::move(paths)));
  return {};
}

Status Keeper::set(const Version& version, DaemonPart daemon) {
  auto specs = TRY(specs_of(version, daemon));
  LabelMap labels = workshop_.host.facts;
  for (const auto& [key, value] : labels_for(workshop_.host, version)) labels[key] = value;
  converger_->set_labels(std::move(labels));
  TRYV(converger_->set_resources(specs));
  // A resource that keeps its name but moves elsewhere leaves something behind.
  if (const std::set<std::string> moved = converger_->moved(); !moved.empty())
    note_release(TRY(converger_->release(moved)));
  daemon_.reset();
  if (!version.manifest.daemon) return {};
  // Only what readiness needs; the resource builds the whole from the same specification.
  const Json spec = TRY(daemon_spec(version));
  DaemonSpec out;
  out.name = service_;
  if (const Json* readiness = spec.find("readiness"); readiness != nullptr) {
    const std::string type = readiness->string_or("type", "none");
    using Type = ReadinessSpec::Type;
    out.readiness.type = type == "notify"    ? Type::notify
                         : type == "tcp"     ? Type::tcp
                         : type == "http"    ? Type::http
                         : type == "command" ? Type::command
                                             : Type::none;
    const Json* port = readiness->find("port");
    out.readiness.port = port == nullptr     ? 0
                         : port->is_int()    ? static_cast<int>(port->as_int())
                         : port->is_string() ? std::atoi(port->as_string().c_str())
                                             : 0;
    out.readiness.address = readiness->string_or("address", "127.0.0.1");
    out.readiness.path = readiness->string_or("path", "/");
    if (const Json* argv = readiness->find("argv"); argv != nullptr && argv->is_array()) {
      for (const Json& word : argv->as_array()) out.readiness.argv.push_back(word.as_string());
    }
    if (const auto timeout = parse_duration(readiness->string_or("timeout", "60s")))
      out.readiness.timeout = *timeout;
  }
  if (spec.string_or("restart") == "never") out.restart = RestartPolicy::never;
  if (spec.string_or("restart") == "on-failure") out.restart = RestartPolicy::on_failure;
  out.stop_timeout = parse_duration(spec.string_or("stopTimeout", "30s")).value_or(seconds(30));
  daemon_ = std::move(out);
  return {};
}

Status Keeper::clear() {
  TRYV(converger_->set_resources({}));
  daemon_.reset();
  return {};
}

Status Keeper::begin_way_back(const std::string& step) {
  TRYV(converger_->begin_to_remember(originals_, step));
  return open_way_back(step);
}

Status Keeper::open_way_back(const std::string& step) {
  converger_->remember_in(TRY(originals_.belong_to(step)) ? &originals_ : nullptr);
  return {};
}

void Keeper::close_way_back() { converger_->remember_in(nullptr); }

Result<Keeper::Lost> Keeper::go_back(const std::string& step) {
  close_way_back();
  if (!TRY(originals_.belong_to(step))) return Lost{};
  Lost lost = TRY(converger_->bring_back(originals_));
  TRYV(converger_->bring_back_ledger(originals_));
  return lost;
}

Result<std::vector<std::string>> Keeper::still_lost(const Lost& lost) {
  std::vector<std::string> out;
  if (lost.empty()) return out;
  std::set<std::string> paths;
  for (const Originals::Lost& item : lost) {
    if (!converger_->decides_on(item.path)) paths.insert(item.path);
  }
  if (paths.empty()) return out;
  for (const Originals::Lost& item : TRY(converger_->bring_back(originals_, paths)))
    out.push_back(fmt::format("{} ({})", item.path, item.why));
  return out;
}

Status Keeper::forget_way_back() { return originals_.forget(); }

Status Keeper::hand_over(const Version& version) {
  TRYV(converger_->remember_metadata(files_.data().string()));
  return files_.hand_over(version);
}

PassReport Keeper::pass(const PassOptions& options) { return converger_->pass(options); }

Status Keeper::release_leftovers() {
  std::set<std::string> names;
  for (std::string& name : converger_->leftovers()) {
    if (name != service_) names.insert(std::move(name));
  }
  if (names.empty()) return {};
  note_release(TRY(converger_->release(names)));
  return {};
}

// What is tried again and again is told once.
void Keeper::note_release(const ReleaseReport& report) {
  const std::set<std::string> warnings(report.warnings.begin(), report.warnings.end());
  for (const std::string& warning : warnings) {
    if (warned_.contains(warning)) continue;
    workshop_.note(make_event(SystemClock().now(), "warning", service_, "",
                              "could not be undone: " + warning));
  }
  warned_ = warnings;
  for (const std::string& name : report.reverted) {
    workshop_.note(make_event(SystemClock().now(), "released", service_, resource_of(name),
                              "taken out of the site and undone"));
  }
}

std::string Keeper::resource_of(const std::string& name) const {
  if (name == service_) return "daemon";
  return name.starts_with(service_ + ".") ? name.substr(service_.size() + 1) : name;
}

std::string first_trouble(const Keeper& keeper, const PassReport& report) {
  for (const ResourceReport& item : report.resources) {
    if (item.outcome != Outcome::failed && !item.blocks) continue;
    return fmt::format("{}: {}", keeper.resource_of(item.name), item.reason);
  }
  return "";
}

std::vector<Json> events_of(const Keeper& keeper, const std::string& service,
                            const PassReport& report, Instant now) {
  std::vector<Json> out;
  for (const std::string& warning : report.warnings)
    out.push_back(make_event(now, "warning", service, "", warning));
  for (const ResourceReport& item : report.resources) {
    if (item.outcome != Outcome::repaired && item.outcome != Outcome::failed) continue;
    const bool repaired = item.outcome == Outcome::repaired;
    std::string text = item.reason;
    std::string diff;
    for (const Change& change : item.changes) {
      if (repaired)
        text += fmt::format("{}{}: {} → {}", text.empty() ? "" : ", ", change.what, change.before,
                            change.after);
      diff += change.diff;
    }
    // What a transition brought is a change; what somebody else had changed is repaired. Artifacts
    // are unpacked before anybody looks at them.
    const bool intended = item.cause == Cause::intended && item.type != "artifact";
    Json event = make_event(now,
                            repaired        ? (intended ? "changed" : "repaired")
                            : item.flapping ? "flapping"
                                            : "failed",
                            service, keeper.resource_of(item.name), text);
    event["cause"] = intended ? "intended" : "corrective";
    event["diff"] = presentable(diff, kDiffBytes);
    event["millis"] = item.elapsed.count();
    if (!item.hint.empty()) event["hint"] = item.hint;
    if (item.backup) event["backup"] = item.backup->str();
    out.push_back(std::move(event));
  }
  return out;
}

}  // namespace consort::agent
