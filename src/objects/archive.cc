// An archive into the store, through libarchive. Nothing is unpacked to disk: each entry streams
// into its object, so an attack has no file system to work on; what it could do later is refused by
// add_to_tree().
#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

#include "base/open_file.h"
#include "objects/blob_file.h"
#include "objects/tree.h"

namespace consort::objects {
namespace {

constexpr std::size_t kMaxEntries = 200'000;
constexpr std::uint64_t kMaxUnpacked = 16ULL << 30U;

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

std::string text_or_empty(const char* text) { return text != nullptr ? text : ""; }

Failure broken(archive* in, const fs::path& path, std::string_view what) {
  return fail(ErrorCode::invalid_input, fmt::format("{} {}: {}", what, path.string(),
                                                    text_or_empty(archive_error_string(in))))
      .hint("is it a whole tar, zip, cpio or 7z archive?");
}

// Named one by one: "all" would include mtree, whose entries may name any file of this host as
// their content, and filters that start other programs.
Reader new_reader() {
  Reader in(archive_read_new(), &archive_read_free);
  archive_read_support_format_tar(in.get());
  archive_read_support_format_gnutar(in.get());
  archive_read_support_format_zip(in.get());
  archive_read_support_format_cpio(in.get());
  archive_read_support_format_7zip(in.get());
  archive_read_support_format_empty(in.get());
  archive_read_support_filter_gzip(in.get());
  archive_read_support_filter_bzip2(in.get());
  archive_read_support_filter_xz(in.get());
  archive_read_support_filter_lzma(in.get());
  archive_read_support_filter_lzip(in.get());
  archive_read_support_filter_zstd(in.get());
  archive_read_support_filter_lz4(in.get());
  archive_read_support_filter_compress(in.get());
  return in;
}

// The raw bytes where there are some: conversions depend on the locale, which servers leave at "C".
std::string bytes_or_utf8(const char* bytes, const char* utf8) {
  return bytes != nullptr ? bytes : text_or_empty(utf8);
}

// "./bin//shop/" is "bin/shop"; anything worse is left for add_to_tree() to refuse.
std::string tidy_path(std::string_view path) {
  std::string out(path.starts_with('/') ? "/" : "");
  while (!path.empty()) {
    const auto slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (!out.empty() && out.back() != '/') out += '/';
    out += part;
  }
  return out;
}

class Unpacking {
 public:
  Unpacking(const ObjectStore& store, archive* in, const fs::path& path)
      : store_(store), in_(in), path_(path) {}

  Status add(archive_entry* header) {
    const std::string name = tidy_path(
        bytes_or_utf8(archive_entry_pathname(header), archive_entry_pathname_utf8(header)));
    const std::string hard =
        bytes_or_utf8(archive_entry_hardlink(header), archive_entry_hardlink_utf8(header));
    const mode_t type = archive_entry_filetype(header);
    if (name.empty() && type == S_IFDIR) return {};  // "./"
    if (!hard.empty()) return add_hard_link(name, tidy_path(hard));
    TreeEntry entry;
    entry.mode = archive_entry_perm(header) & 07777U;
    if (type == S_IFDIR) {
      entry.kind = TreeEntry::Kind::directory;
    } else if (type == S_IFLNK) {
      entry.kind = TreeEntry::Kind::symlink;
      entry.mode = 0777;
      entry.target =
          bytes_or_utf8(archive_entry_symlink(header), archive_entry_symlink_utf8(header));
    } else if (type == S_IFREG) {
      // Refuse before anything of a doomed entry is stored.
      TRYV(add_to_tree(tree_, name, entry));
      TRYV(store_content(name, entry));
    } else {
      return fail(ErrorCode::invalid_input,
                  fmt::format("'{}' is a device, FIFO or socket: only files, directories and "
                              "symlinks can be stored",
                              name))
          .hint("leave it out of the archive");
    }
    return add_to_tree(tree_, name, std::move(entry));
  }

  [[nodiscard]] const Tree& tree() const { return tree_; }

 private:
  Status add_hard_link(const std::string& name, const std::string& target) {
    const auto it = tree_.find(target);
    if (it == tree_.end() || it->second.kind != TreeEntry::Kind::file) {
      return fail(
          ErrorCode::invalid_input,
          fmt::format("the hard link '{}' refers to '{}', which is no earlier file of the archive",
                      name, target));
    }
    return add_to_tree(tree_, name, TreeEntry(it->second));
  }

  Status store_content(const std::string& name, TreeEntry& entry) {
    std::string buffer(kChunkBytes, '\0');
    const auto next = [&]() -> Result<std::string_view> {
      const la_ssize_t n = archive_read_data(in_, buffer.data(), buffer.size());
      if (n < 0) return broken(in_, path_, fmt::format("cannot unpack '{}' of", name));
      unpacked_ += static_cast<std::uint64_t>(n);
      if (unpacked_ > kMaxUnpacked) {
        return fail(ErrorCode::too_large, fmt::format("{} unpacks to more than {} GiB",
                                                      path_.string(), kMaxUnpacked >> 30U))
            .hint("split it into several artifacts");
      }
      return std::string_view(buffer).substr(0, static_cast<std::size_t>(n));
    };
    const auto stored = TRY(store_.put_stream(next, Durability::cached));
    entry.digest = stored.digest;
    entry.size = stored.size;
    return {};
  }

  const ObjectStore& store_;
  archive* in_;
  const fs::path& path_;
  Tree tree_;
  std::uint64_t unpacked_ = 0;
};

}  // namespace

Result<Digest> put_archive(const ObjectStore& store, const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot open {}", path.string()));
  if (!S_ISREG(info.st_mode))
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is a {}, not an archive", path.string(), file_kind(info.st_mode)));
  if (info.st_size == 0)
    return fail(ErrorCode::invalid_input, fmt::format("{} is empty", path.string()))
        .hint("is it a whole archive?");
  const Reader in = new_reader();
  if (archive_read_open_filename(in.get(), path.c_str(), 1U << 16U) != ARCHIVE_OK)
    return broken(in.get(), path, "cannot open");
  Unpacking unpacking(store, in.get(), path);
  archive_entry* header = nullptr;
  for (std::size_t count = 0;; ++count) {
    const int status = archive_read_next_header(in.get(), &header);
    if (status == ARCHIVE_EOF) break;
    // A warning is a name that this locale cannot show; its bytes are there all the same.
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      return broken(in.get(), path, "cannot read");
    if (count >= kMaxEntries)
      return fail(ErrorCode::too_large,
                  fmt::format("{} has more than {} entries", path.string(), kMaxEntries))
          .hint("split it into several artifacts");
    if (Status added = unpacking.add(header); !added) {
      added.error().add_context(fmt::format("while storing the archive {}", path.string()));
      return tl::unexpected<Error>(std::move(added).error());
    }
  }
  return put_tree(store, unpacking.tree());
}

}  // namespace consort::objects
