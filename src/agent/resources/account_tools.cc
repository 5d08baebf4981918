#include "agent/resources/account_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <set>

#include "agent/overlay_files.h"
#include "base/text.h"

namespace consort::agent {
namespace {

std::string without_line(const std::string& text, const std::string& name) {
  std::string out;
  for (const std::string& line : split(text, '\n')) {
    if (!line.empty() && !line.starts_with(name + ":")) out += line + "\n";
  }
  return out;
}

}  // namespace

void AccountFiles::remove_user(const std::string& name) {
  passwd_ = without_line(passwd_, name);
  set_memberships(name, {});
}

void AccountFiles::remove_group(const std::string& name) { group_ = without_line(group_, name); }

void AccountFiles::add_user(const Account& account) {
  passwd_ = without_line(passwd_, account.name);
  passwd_ += fmt::format("{}:x:{}:{}:{}:{}:{}\n", account.name, account.uid, account.gid,
                         account.comment, account.home, account.shell);
}

void AccountFiles::add_group(const std::string& name, gid_t gid) {
  group_ += fmt::format("{}:x:{}:\n", name, gid);
}

void AccountFiles::set_memberships(const std::string& user,
                                   const std::vector<std::string>& groups) {
  std::string out;
  for (const std::string& line : split(group_, '\n')) {
    auto field = split(line, ':');
    if (field.size() < 4) continue;
    std::vector<std::string> members;
    for (const std::string& member : split(field[3], ',')) {
      if (!member.empty() && member != user) members.push_back(member);
    }
    if (std::find(groups.begin(), groups.end(), field[0]) != groups.end()) members.push_back(user);
    field[3] = join(members, ",");
    out += join(field, ":") + "\n";
  }
  group_ = std::move(out);
}

unsigned AccountFiles::free_id(bool system) const {
  std::set<unsigned> used;
  for (const std::string* text : {&passwd_, &group_}) {
    for (const std::string& line : split(*text, '\n')) {
      const auto field = split(line, ':');
      unsigned id = 0;
      if (field.size() > 2 &&
          std::from_chars(field[2].data(), field[2].data() + field[2].size(), id).ec == std::errc())
        used.insert(id);
    }
  }
  unsigned id = system ? 999 : 1000;
  while (used.contains(id)) system ? --id : ++id;
  return id;
}

Result<Applied> run_account_tool(const Context& context, std::vector<std::string> argv,
                                 const std::function<void(AccountFiles&)>& imagine) {
  Applied out;
  // Not --root: that would need a whole system below the root to chroot into.
  if (context.root != "/") argv.insert(argv.begin() + 1, {"--prefix", context.root.string()});
  out.commands.push_back(quote_argv(argv));
  // The account files have one lock; two tools at once would fail on it.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (context.dry_run()) {
    AccountFiles files(context.files.read("/etc/passwd").value_or(""),
                       context.files.read("/etc/group").value_or(""));
    imagine(files);
    TRY(context.files.write("/etc/passwd", Content{files.passwd(), {}}, {}, nullptr));
    TRY(context.files.write("/etc/group", Content{files.group(), {}}, {}, nullptr));
    context.accounts.refresh();
    return out;
  }
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.environment = {{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}, {"LC_ALL", "C"}};
  const auto outcome = context.runner.run(spec);
  context.accounts.refresh();
  if (!outcome && outcome.error().code() == ErrorCode::not_found) {
    return fail(ErrorCode::unsupported, fmt::format("this host has no {}", spec.argv[0]))
        .hint("install the package that brings useradd (Debian: passwd)");
  }
  if (!outcome) return tl::unexpected<Error>(outcome.error());
  if (!outcome->ok()) {
    return fail(ErrorCode::io, fmt::format("{} ended with status {}: {}", out.commands[0],
                                           outcome->status, trim(last_lines(outcome->errors, 3))));
  }
  return out;
}

std::vector<Evidence> account_evidence(const Context& context) {
  return {{"/etc/passwd", context.files.stamp("/etc/passwd")},
          {"/etc/group", context.files.stamp("/etc/group")}};
}

std::string read_account_name(JsonReader& reader, std::string_view key) {
  std::string name = reader.string(key);
  const bool good =
      !name.empty() && name.size() <= 32 && name.front() != '-' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
          std::string::npos &&
      name.find_first_not_of("0123456789") != std::string::npos;
  if (!good) {
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: '{}' is no name for an account", reader.path_of(key), name))
                    .hint("letters, digits, '_', '-', '.'; at most 32, not all digits"));
  }
  return name;
}

std::optional<unsigned> read_id(JsonReader& reader, std::string_view key) {
  const std::int64_t id = reader.integer(key, -1, -1, 4'294'967'294);
  return id < 0 ? std::nullopt : std::optional(static_cast<unsigned>(id));
}

}  // namespace consort::agent
