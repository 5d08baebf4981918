// The records of the registry as JSON: what the controller journals.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "access/records.h"
#include "access/registry.h"
#include "base/text.h"

namespace consort::access {
namespace {

constexpr std::array<std::string_view, 3> kStates = {"pending", "approved", "revoked"};

std::string read_serial(JsonReader& reader, std::string_view key) {
  std::string serial = reader.string(key);
  if (!is_serial(serial))
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: not a serial number in hex", reader.path_of(key))));
  return serial;
}

Json certificates_to_json(const std::vector<IssuedCertificate>& certificates) {
  Json::Array out;
  for (const IssuedCertificate& certificate : certificates)
    out.push_back(Json::object({{"serial", certificate.serial},
                                {"key", certificate.key.str()},
                                {"expires", format_instant(certificate.expires)},
                                {"validUntil", format_instant(certificate.valid_until)},
                                {"last", certificate.last},
                                {"token", certificate.token},
                                {"lastUsed", optional_instant(certificate.last_used)}}));
  return out;
}

Result<std::vector<IssuedCertificate>> certificates_from_json(const Json::Array& json,
                                                              const std::string& path) {
  if (json.size() > kMaxCertificates)
    return fail(ErrorCode::too_large,
                fmt::format("{}: more than {} certificates", path, kMaxCertificates));
  std::vector<IssuedCertificate> out;
  for (const Json& item : json) {
    JsonReader reader(item, fmt::format("{}[{}]", path, out.size()));
    IssuedCertificate certificate;
    certificate.serial = read_serial(reader, "serial");
    certificate.key = read_digest(reader, "key");
    certificate.expires = read_instant(reader, "expires");
    certificate.valid_until = read_instant(reader, "validUntil");
    certificate.last = reader.boolean("last", false);
    certificate.token = reader.string("token", "").substr(0, 64);
    certificate.last_used = read_optional_instant(reader, "lastUsed");
    TRYV(reader.finish());
    out.push_back(std::move(certificate));
  }
  return out;
}

Json rival_to_json(const Rival& rival) {
  return Json::object({{"key", rival.key.str()},
                       {"machineId", rival.machine_id},
                       {"address", rival.address},
                       {"token", rival.token},
                       {"at", format_instant(rival.at)}});
}

Result<Rival> rival_from_json(const Json& json) {
  JsonReader reader(json, "host.rival");
  Rival out;
  out.key = read_digest(reader, "key");
  out.machine_id = read_text(reader, "machineId");
  out.address = read_text(reader, "address");
  out.token = read_text(reader, "token");
  out.at = read_instant(reader, "at");
  TRYV(reader.finish());
  return out;
}

}  // namespace

std::string_view host_state_name(HostState state) {
  const auto index = static_cast<std::size_t>(state);
  return index < kStates.size() ? kStates[index] : "?";
}

bool is_serial(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

Json operator_to_json(const Operator& record) {
  return Json::object({{"name", record.name},
                       {"grants", grants_to_json(record.grants)},
                       {"certificates", certificates_to_json(record.certificates)},
                       {"by", record.by},
                       {"created", format_instant(record.created)}});
}

Result<Operator> operator_from_json(const Json& json) {
  JsonReader reader(json, "operator");
  Operator out;
  out.name = read_name(reader, "name");
  const Json::Array& grants = reader.array("grants");
  const Json::Array& certificates = reader.array("certificates");
  out.by = read_text(reader, "by");
  out.created = read_instant(reader, "created");
  TRYV(reader.finish());
  out.grants = TRY(grants_from_json(grants, "operator.grants"));
  out.certificates = TRY(certificates_from_json(certificates, "operator.certificates"));
  return out;
}

Json host_identity_to_json(const HostIdentity& record) {
  Json labels = Json::object();
  for (const auto& [key, value] : record.labels) labels[key] = value;
  return Json::object({{"name", record.name},
                       {"state", host_state_name(record.state)},
                       {"key", record.key.str()},
                       {"machineId", record.machine_id},
                       {"address", record.address},
                       {"token", record.token},
                       {"hostClass", record.host_class},
                       {"labels", labels},
                       {"joined", format_instant(record.joined)},
                       {"decidedBy", record.decided_by},
                       {"decided", optional_instant(record.decided)},
                       {"certificates", certificates_to_json(record.certificates)},
                       {"rival", record.rival ? rival_to_json(*record.rival) : Json()},
                       {"sealKey", record.seal_key.empty() ? Json() : Json(record.seal_key)}});
}

Result<HostIdentity> host_identity_from_json(const Json& json) {
  JsonReader reader(json, "host");
  HostIdentity out;
  out.name = read_name(reader, "name");
  const std::string state = reader.string("state");
  const auto it = std::find(kStates.begin(), kStates.end(), state);
  if (it == kStates.end())
    reader.note(
        fail(ErrorCode::invalid_input, fmt::format("{}: no such state", reader.path_of("state"))));
  else
    out.state = static_cast<HostState>(it - kStates.begin());
  out.key = read_digest(reader, "key");
  out.machine_id = read_text(reader, "machineId");
  out.address = read_text(reader, "address");
  out.token = read_text(reader, "token");
  out.host_class = read_text(reader, "hostClass");
  out.labels = read_labels(reader, "labels");
  out.joined = read_instant(reader, "joined");
  out.decided_by = read_text(reader, "decidedBy");
  out.decided = read_optional_instant(reader, "decided");
  const Json::Array& certificates = reader.array("certificates");
  const Json* rival = reader.any("rival");
  // Records of before there were secrets have none.
  if (const auto key = reader.optional_string("sealKey")) {
    if (const Status status = check_seal_key(*key); !status) reader.note(status.error());
    out.seal_key = *key;
  }
  TRYV(reader.finish());
  out.certificates = TRY(certificates_from_json(certificates, "host.certificates"));
  if (rival != nullptr) out.rival = TRY(rival_from_json(*rival));
  return out;
}

Json revoked_to_json(const RevokedCertificate& record) {
  return Json::object({{"serial", record.serial},
                       {"expires", format_instant(record.expires)},
                       {"owner", record.owner},
                       {"by", record.by},
                       {"at", format_instant(record.at)}});
}

Result<RevokedCertificate> revoked_from_json(const Json& json) {
  JsonReader reader(json, "revoked");
  RevokedCertificate out;
  out.serial = read_serial(reader, "serial");
  out.expires = read_instant(reader, "expires");
  out.owner = read_text(reader, "owner");
  out.by = read_text(reader, "by");
  out.at = read_instant(reader, "at");
  TRYV(reader.finish());
  return out;
}

}  // namespace consort::access
