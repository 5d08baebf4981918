// Where the audit log is in the store: audit/NUMBER, one entry each, and `audited`, its head. It is
// never in memory as a whole. Thread-safe as the store is.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "access/audit.h"
#include "state/state_store.h"

namespace consort::controller {

// nullopt erases the key.
using AuditWrites = std::map<std::string, std::optional<std::string>>;

// The entry and the head after it.
void write_audit_entry(const access::AuditEntry& entry, AuditWrites& writes);
// Entries after `after`, at most `limit`. Errors: io, corrupt.
[[nodiscard]] Result<std::vector<access::AuditEntry>> audit_entries(state::StateStore& store,
                                                                    std::uint64_t after,
                                                                    std::size_t limit);
// A commit that is larger than one transaction writes the head after the entries; a crash between
// the two leaves it behind, and it is worked out from what is there. Errors: io, corrupt.
[[nodiscard]] Result<access::AuditHead> load_audit_head(state::StateStore& store);
// Chains the note to what the store holds.
[[nodiscard]] Status add_audit_entry(state::StateStore& store, access::AuditNote note,
                                     AuditWrites& writes);

}  // namespace consort::controller
