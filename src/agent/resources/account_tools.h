// What the types user and group share: the shadow tools (useradd, groupmod, …), run for the host's
// root, and their effect on /etc/passwd and /etc/group as a dry run needs it.
#pragma once

#include <functional>

#include "agent/resource.h"

namespace consort::agent {

// The two files as text, in memory.
class AccountFiles {
 public:
  AccountFiles(std::string passwd, std::string group)
      : passwd_(std::move(passwd)), group_(std::move(group)) {}
  void remove_user(const std::string& name);
  void remove_group(const std::string& name);
  void add_user(const Account& account);
  void add_group(const std::string& name, gid_t gid);
  // `groups` becomes the whole list of groups that have this member.
  void set_memberships(const std::string& user, const std::vector<std::string>& groups);
  // Not used by any user or group.
  [[nodiscard]] unsigned free_id(bool system) const;
  [[nodiscard]] const std::string& passwd() const { return passwd_; }
  [[nodiscard]] const std::string& group() const { return group_; }

 private:
  std::string passwd_;
  std::string group_;
};

// Runs the tool (with --prefix for another root), or in a dry run only `imagine`s its effect.
[[nodiscard]] Result<Applied> run_account_tool(const Context& context,
                                               std::vector<std::string> argv,
                                               const std::function<void(AccountFiles&)>& imagine);
// As long as the two files are untouched, users and groups are too.
[[nodiscard]] std::vector<Evidence> account_evidence(const Context& context);
// Names as useradd(8) takes them; anything else is noted as an error.
[[nodiscard]] std::string read_account_name(JsonReader& reader, std::string_view key);
[[nodiscard]] std::optional<unsigned> read_id(JsonReader& reader, std::string_view key);

}  // namespace consort::agent
