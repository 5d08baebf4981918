// Keys and small steps that the operations on the registry share. Internal to this room.
#pragma once

#include <string>
#include <string_view>

#include "access/registry.h"

namespace consort::access {

inline constexpr std::string_view kOperatorKeys = "access/operators/";
inline constexpr std::string_view kOperatorTokenKeys = "access/operator-tokens/";
inline constexpr std::string_view kJoinTokenKeys = "access/join-tokens/";
inline constexpr std::string_view kHostKeys = "access/hosts/";
inline constexpr std::string_view kRevokedKeys = "access/revoked/";
inline constexpr std::string_view kSecretKeys = "access/secrets/";

void put(Writes& writes, const Operator& record);
void put(Writes& writes, const OperatorToken& record);
void put(Writes& writes, const JoinToken& record);
void put(Writes& writes, const HostIdentity& record);
void put(Writes& writes, const RevokedCertificate& record);
void put(Writes& writes, const SecretRecord& record);
void erase(Writes& writes, std::string_view keys, std::string_view name);

// Revokes what is still believed of these certificates.
void revoke_all(Writes& writes, const std::vector<IssuedCertificate>& certificates,
                const std::string& owner, const std::string& by, Instant now);
// Whether anybody has, or had, a certificate with this number.
[[nodiscard]] bool serial_known(const Registry& registry, std::string_view serial);
// Adds one to the list and drops what is over; the oldest go first when there are too many, and
// are revoked.
[[nodiscard]] Status add_certificate(Writes& writes, std::vector<IssuedCertificate>& certificates,
                                     const Registry& registry, const IssuedCertificate& certificate,
                                     const std::string& owner, Instant now);
// Texts of people and machines, cut to what the records hold.
[[nodiscard]] std::string bounded(std::string_view text);

}  // namespace consort::access
