#include "objects/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/json_reader.h"
#include "base/text.h"

namespace consort::objects {
namespace {

constexpr std::size_t kMaxPath = 4095;
constexpr std::size_t kMaxName = 255;

std::string_view kind_name(TreeEntry::Kind kind) {
  switch (kind) {
    case TreeEntry::Kind::file:
      return "file";
    case TreeEntry::Kind::directory:
      return "directory";
    case TreeEntry::Kind::symlink:
      return "symlink";
  }
  return "file";
}

// Why the path must not be in a tree, or "".
std::string fault_of_path(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path.size() > kMaxPath) return "it is longer than 4095 bytes";
  if (path.front() == '/') return "it is absolute";
  if (path.find('\0') != std::string_view::npos) return "it contains a NUL byte";
  if (!is_utf8(path)) return "it is not UTF-8";
  for (const std::string& part : split(path, '/')) {
    if (part.empty()) return "it has an empty part";
    if (part == "." || part == "..") return fmt::format("it contains '{}'", part);
    if (part.size() > kMaxName) return "a part of it is longer than 255 bytes";
  }
  return "";
}

Failure unsafe(std::string_view path, std::string_view fault) {
  return fail(ErrorCode::invalid_input, fmt::format("unsafe path '{}': {}", path, fault))
      .hint("pack the folder anew with relative paths inside it");
}

std::string fault_of_target(std::string_view target) {
  if (target.empty()) return "its target is empty";
  if (target.size() > kMaxPath) return "its target is longer than 4095 bytes";
  if (target.find('\0') != std::string_view::npos) return "its target contains a NUL byte";
  if (!is_utf8(target)) return "its target is not UTF-8";
  return "";
}

std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

Result<mode_t> parse_mode(const std::string& text, const std::string& place) {
  const bool octal = text.size() == 4 && text.find_first_not_of("01234567") == std::string::npos;
  if (!octal)
    return fail(ErrorCode::invalid_input,
                fmt::format("{} must be four octal digits, not '{}'", place, text));
  return static_cast<mode_t>(std::stoul(text, nullptr, 8));
}

Result<TreeEntry> entry_from_json(const Json& json, const std::string& place) {
  JsonReader in(json, place);
  TreeEntry entry;
  const std::string kind = in.string("kind");
  if (kind == "symlink") {
    entry.kind = TreeEntry::Kind::symlink;
    entry.mode = 0777;
    entry.target = in.string("target");
    TRYV(in.finish());
    if (const auto fault = fault_of_target(entry.target); !fault.empty())
      return unsafe(place, fault);
    return entry;
  }
  const std::string mode = in.string("mode");
  if (kind == "file") {
    const std::string digest = in.string("digest");
    entry.size = static_cast<std::uint64_t>(in.integer("size", std::nullopt, 0));
    TRYV(in.finish());
    entry.digest = TRY(Digest::parse(digest));
  } else if (kind == "directory") {
    entry.kind = TreeEntry::Kind::directory;
    TRYV(in.finish());
  } else {
    TRYV(in.finish(UnknownMembers::ignore));
    return fail(ErrorCode::invalid_input, fmt::format("{} has the unknown kind '{}'", place, kind))
        .hint("known kinds: file, directory, symlink");
  }
  entry.mode = TRY(parse_mode(mode, place + ".mode"));
  return entry;
}

}  // namespace

Status add_to_tree(Tree& tree, const std::string& path, TreeEntry entry) {
  if (const auto fault = fault_of_path(path); !fault.empty()) return unsafe(path, fault);
  if (entry.kind == TreeEntry::Kind::symlink) {
    if (const auto fault = fault_of_target(entry.target); !fault.empty())
      return unsafe(path, fault);
  }
  for (std::string_view parent = parent_of(path); !parent.empty(); parent = parent_of(parent)) {
    TreeEntry folder;
    folder.kind = TreeEntry::Kind::directory;
    folder.mode = 0755;
    const auto [it, added] = tree.try_emplace(std::string(parent), folder);
    if (it->second.kind != TreeEntry::Kind::directory) {
      return unsafe(path, fmt::format("'{}' above it is a {}", parent, kind_name(it->second.kind)));
    }
    if (!added) break;
  }
  const auto it = tree.find(path);
  if (it != tree.end() && it->second.kind != entry.kind) {
    return unsafe(path, fmt::format("it is both a {} and a {}", kind_name(it->second.kind),
                                    kind_name(entry.kind)));
  }
  tree.insert_or_assign(path, std::move(entry));
  return {};
}

Json tree_to_json(const Tree& tree) {
  Json::Object entries;
  for (const auto& [path, entry] : tree) {
    Json item = Json::object({{"kind", kind_name(entry.kind)}});
    if (entry.kind == TreeEntry::Kind::symlink) {
      item["target"] = entry.target;
    } else {
      item["mode"] = fmt::format("{:04o}", entry.mode & 07777U);
    }
    if (entry.kind == TreeEntry::Kind::file) {
      item["digest"] = entry.digest.str();
      item["size"] = entry.size;
    }
    entries.emplace(path, std::move(item));
  }
  return Json::object({{"consort", "tree"}, {"entries", Json(std::move(entries))}});
}

Result<Tree> tree_from_json(const Json& json, std::string_view origin) {
  if (!json.is_object())
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is no tree: it is not an object", origin));
  JsonReader in(json, "");
  const std::string consort = in.string("consort");
  const Json::Object& entries = in.object("entries");
  if (Status status = in.finish(); !status) {
    status.error().add_context(fmt::format("while reading the tree {}", origin));
    return tl::unexpected<Error>(std::move(status).error());
  }
  if (consort != "tree")
    return fail(ErrorCode::invalid_input, fmt::format("{} is no tree but a {}", origin, consort));
  Tree tree;
  // Sorted by path, so a parent comes before its children.
  for (const auto& [path, item] : entries) {
    const std::string place = fmt::format("entries.{}", path);
    if (const auto fault = fault_of_path(path); !fault.empty()) return unsafe(path, fault);
    if (!item.is_object())
      return fail(ErrorCode::invalid_input,
                  fmt::format("{} in {} must be an object", place, origin));
    if (const std::string parent(parent_of(path)); !parent.empty()) {
      const auto it = tree.find(parent);
      if (it == tree.end() || it->second.kind != TreeEntry::Kind::directory) {
        return unsafe(path, fmt::format("'{}' above it is no directory of the tree", parent));
      }
    }
    tree.emplace(path, TRY(entry_from_json(item, place)));
  }
  return tree;
}

std::vector<Digest> tree_references(const Tree& tree) {
  std::set<Digest> out;
  for (const auto& [path, entry] : tree) {
    if (entry.kind == TreeEntry::Kind::file) out.insert(entry.digest);
  }
  return {out.begin(), out.end()};
}

Tree tree_of_program(const std::string& name, const Digest& digest) {
  TreeEntry entry;
  entry.mode = 0755;
  entry.digest = digest;
  return {{name, entry}};
}

Result<Tree> get_tree(const ObjectStore& store, const Digest& digest) {
  const std::string bytes = TRY(store.get(digest));
  return tree_from_json(TRY(parse_json(bytes, digest.str())), digest.str());
}

Result<Digest> put_tree(const ObjectStore& store, const Tree& tree) {
  const std::string bytes = TRY(tree_to_json(tree).canonical());
  if (bytes.size() > kDefaultReadLimit) {
    return fail(ErrorCode::too_large,
                fmt::format("the list of {} files needs {} bytes; the limit is {}", tree.size(),
                            bytes.size(), kDefaultReadLimit))
        .hint("split it into several artifacts");
  }
  TRYV(store.sync());
  return store.put(bytes);
}

}  // namespace consort::objects
