#include "plan/statement.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/json_reader.h"

namespace consort::plan {
namespace {

constexpr std::string_view kFormat = "consort-statement-1";
constexpr std::int64_t kLargestSequence = (std::int64_t{1} << 53U) - 1;
constexpr std::size_t kMostSignatures = 64;
constexpr std::size_t kLongestProof = 64;

Json digest_or_null(const Digest& digest) { return digest.is_none() ? Json() : Json(digest.str()); }

Json values_to_json(const std::map<std::string, std::string>& values) {
  Json::Object out;
  for (const auto& [name, value] : values) out.emplace(name, value);
  return out;
}

Result<std::map<std::string, std::string>> values_from_json(const Json& json,
                                                            const std::string& path) {
  if (!json.is_object()) return fail(ErrorCode::invalid_input, path + ": expected an object");
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : json.as_object()) {
    if (!value.is_string())
      return fail(ErrorCode::invalid_input, fmt::format("{}.{} must be a string", path, name));
    out.emplace(name, value.as_string());
  }
  return out;
}

Result<Digest> digest_from(const std::optional<std::string>& text) {
  return text ? Digest::parse(*text) : Result<Digest>(Digest());
}

Result<std::vector<std::string>> sorted(std::vector<std::string> names, const std::string& path) {
  if (!std::is_sorted(names.begin(), names.end()) ||
      std::adjacent_find(names.begin(), names.end()) != names.end())
    return fail(ErrorCode::invalid_input, path + ": names must be sorted, each once");
  return names;
}

// Texts and digests only: these always have canonical bytes.
std::string canonical(const Json& json) { return json.canonical().value_or(""); }

Json share_to_json(const Share& share) {
  Json::Object out;
  for (const auto& [service, instance] : share)
    out.emplace(service, Json::object({{"manifest", instance.manifest.str()},
                                       {"host", values_to_json(instance.host)}}));
  return out;
}

Result<Share> share_from_json(const Json::Object& json, const std::string& path) {
  Share out;
  for (const auto& [service, item] : json) {
    const std::string at = path + "." + service;
    JsonReader reader(item, at);
    SharedInstance instance;
    const std::string manifest = reader.string("manifest");
    static const Json none = Json::object();
    const Json* values = reader.any("host");
    TRYV(reader.finish());
    instance.manifest = TRY(Digest::parse(manifest));
    instance.host = TRY(values_from_json(values == nullptr ? none : *values, at + ".host"));
    out.emplace(service, std::move(instance));
  }
  return out;
}

// Leaves and nodes are hashed apart, so that neither can pass for the other.
Digest leaf_of(const std::string& host, const Share& share) {
  return Digest::of(std::string(1, '\0') +
                    canonical(Json::object({{"host", host}, {"share", share_to_json(share)}})));
}
Digest node_of(const Digest& left, const Digest& right) {
  return Digest::of(std::string(1, '\1') + left.str() + right.str());
}

Json head_to_json(const StatementHead& head) {
  return Json::object({{"format", kFormat},
                       {"site", head.site},
                       {"partition", head.partition},
                       {"sequence", head.sequence},
                       {"previous", digest_or_null(head.previous)},
                       {"root", head.root.str()},
                       {"held", Json::array_of(head.held)}});
}

Result<StatementHead> head_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  const std::string format = reader.string("format");
  StatementHead head;
  head.site = reader.string("site");
  head.partition = reader.string("partition");
  head.sequence = static_cast<std::uint64_t>(reader.integer("sequence", {}, 1, kLargestSequence));
  const auto previous = reader.optional_string("previous");
  const std::string root = reader.string("root");
  auto held = reader.strings("held");
  TRYV(reader.finish());
  if (format != kFormat)
    return fail(ErrorCode::unsupported, fmt::format("{}.format: '{}'", path, format.substr(0, 40)))
        .hint("it was made by a newer Consort; upgrade this one");
  head.previous = TRY(digest_from(previous));
  head.root = TRY(Digest::parse(root));
  head.held = TRY(sorted(std::move(held), path + ".held"));
  return head;
}

Json signatures_to_json(const Signatures& signatures) { return values_to_json(signatures); }

Result<Signatures> signatures_from_json(const Json* json, const std::string& path) {
  if (json == nullptr) return Signatures();
  Signatures out = TRY(values_from_json(*json, path));
  if (out.size() > kMostSignatures)
    return fail(ErrorCode::too_large,
                fmt::format("{}: more than {} signatures", path, kMostSignatures));
  return out;
}

Json part_to_json(const HostPart& part) {
  Json::Array proof;
  for (const ProofStep& step : part.proof)
    proof.push_back(Json::object({{"left", step.left}, {"digest", step.digest.str()}}));
  return Json::object({{"head", head_to_json(part.head)},
                       {"share", share_to_json(part.share)},
                       {"proof", std::move(proof)}});
}

Result<HostPart> part_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  static const Json none = Json();
  const Json* head = reader.any("head");
  const Json::Object& share = reader.object("share");
  const Json::Array& proof = reader.array("proof");
  TRYV(reader.finish());
  HostPart out;
  out.head = TRY(head_from_json(head == nullptr ? none : *head, path + ".head"));
  out.share = TRY(share_from_json(share, path + ".share"));
  if (proof.size() > kLongestProof)
    return fail(ErrorCode::too_large, fmt::format("{}.proof: too long", path));
  for (const Json& item : proof) {
    JsonReader step(item, path + ".proof");
    const bool left = step.boolean("left", false);
    const std::string digest = step.string("digest");
    TRYV(step.finish());
    out.proof.push_back({left, TRY(Digest::parse(digest))});
  }
  return out;
}

}  // namespace

std::string head_bytes(const StatementHead& head) { return canonical(head_to_json(head)); }
Digest head_digest(const StatementHead& head) { return Digest::of(head_bytes(head)); }

ShareTree::ShareTree(const Statement& statement) {
  for (const std::string& host : statement.hosts) shares_.try_emplace(host);
  for (const auto& [name, service] : statement.services) {
    for (const auto& [host, values] : service.hosts)
      shares_[host].emplace(name, SharedInstance{service.manifest, values});
  }
  std::vector<Digest> level;
  level.reserve(shares_.size());
  for (const auto& [host, share] : shares_) level.push_back(leaf_of(host, share));
  levels_.push_back(std::move(level));
  while (levels_.back().size() > 1) {
    const std::vector<Digest>& below = levels_.back();
    std::vector<Digest> above;
    for (std::size_t i = 0; i < below.size(); i += 2)
      above.push_back(i + 1 < below.size() ? node_of(below[i], below[i + 1]) : below[i]);
    levels_.push_back(std::move(above));
  }
  head_ = {statement.site,
           statement.partition,
           statement.sequence,
           statement.previous,
           levels_.back().empty() ? Digest::of("") : levels_.back().front(),
           statement.held};
}

std::optional<HostPart> ShareTree::part(const std::string& host) const {
  const auto share = shares_.find(host);
  if (share == shares_.end()) return std::nullopt;
  Part out{head_, share->second, {}};
  auto at = static_cast<std::size_t>(std::distance(shares_.begin(), share));
  for (const std::vector<Digest>& level : levels_) {
    const bool left = at % 2 == 1;
    const std::size_t other = left ? at - 1 : at + 1;
    if (other < level.size()) out.proof.push_back({left, level[other]});
    at /= 2;
  }
  return out;
}

Status check_part(const HostPart& part, const std::string& host) {
  Digest digest = leaf_of(host, part.share);
  for (const ProofStep& step : part.proof)
    digest = step.left ? node_of(step.digest, digest) : node_of(digest, step.digest);
  if (digest == part.head.root) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("what statement {} is said to want of {} is not what was signed",
                          part.head.sequence, host));
}

Json statement_to_json(const Statement& statement) {
  Json::Object services;
  for (const auto& [name, service] : statement.services) {
    Json::Object hosts;
    for (const auto& [host, values] : service.hosts) hosts.emplace(host, values_to_json(values));
    services.emplace(
        name, Json::object({{"manifest", service.manifest.str()}, {"hosts", std::move(hosts)}}));
  }
  return Json::object({{"format", kFormat},
                       {"site", statement.site},
                       {"partition", statement.partition},
                       {"sequence", statement.sequence},
                       {"previous", digest_or_null(statement.previous)},
                       {"held", Json::array_of(statement.held)},
                       {"hosts", Json::array_of(statement.hosts)},
                       {"services", std::move(services)}});
}

Result<Statement> statement_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Statement out;
  const std::string format = reader.string("format");
  out.site = reader.string("site");
  out.partition = reader.string("partition");
  out.sequence = static_cast<std::uint64_t>(reader.integer("sequence", {}, 1, kLargestSequence));
  const auto previous = reader.optional_string("previous");
  auto held = reader.strings("held");
  auto hosts = reader.strings("hosts");
  const Json::Object& services = reader.object("services");
  TRYV(reader.finish());
  if (format != kFormat)
    return fail(ErrorCode::unsupported, fmt::format("{}.format: '{}'", path, format.substr(0, 40)))
        .hint("it was made by a newer Consort; upgrade this one");
  out.previous = TRY(digest_from(previous));
  out.held = TRY(sorted(std::move(held), path + ".held"));
  hosts = TRY(sorted(std::move(hosts), path + ".hosts"));
  out.hosts.insert(hosts.begin(), hosts.end());
  for (const auto& [name, item] : services) {
    const std::string at = path + ".services." + name;
    JsonReader service(item, at);
    const std::string manifest = service.string("manifest");
    const Json::Object& places = service.object("hosts");
    TRYV(service.finish());
    StatedService stated{TRY(Digest::parse(manifest)), {}};
    for (const auto& [host, values] : places)
      stated.hosts.emplace(host, TRY(values_from_json(values, at + ".hosts." + host)));
    out.services.emplace(name, std::move(stated));
  }
  return out;
}

Json signed_statement_to_json(const SignedStatement& statement) {
  return Json::object({{"statement", statement_to_json(statement.statement)},
                       {"signatures", signatures_to_json(statement.signatures)}});
}

Result<SignedStatement> signed_statement_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  static const Json none = Json();
  const Json* statement = reader.any("statement");
  const Json* signatures = reader.any("signatures");
  TRYV(reader.finish());
  return SignedStatement{
      TRY(statement_from_json(statement == nullptr ? none : *statement, path + ".statement")),
      TRY(signatures_from_json(signatures, path + ".signatures"))};
}

Json attestation_to_json(const Attestation& attestation) {
  return Json::object(
      {{"current", part_to_json(attestation.current)},
       {"previous", attestation.previous ? part_to_json(*attestation.previous) : Json()},
       {"signatures", signatures_to_json(attestation.signatures)}});
}

Result<Attestation> attestation_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  static const Json none = Json();
  const Json* current = reader.any("current");
  const Json* previous = reader.any("previous");
  const Json* signatures = reader.any("signatures");
  TRYV(reader.finish());
  Attestation out;
  out.current = TRY(part_from_json(current == nullptr ? none : *current, path + ".current"));
  if (previous != nullptr) out.previous = TRY(part_from_json(*previous, path + ".previous"));
  out.signatures = TRY(signatures_from_json(signatures, path + ".signatures"));
  return out;
}

}  // namespace consort::plan
