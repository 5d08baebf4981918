// The content store: immutable blobs named by the SHA-256 of their (uncompressed) bytes.
// On disk: ROOT/objects/ab/cdef… (zstd, level 3, or plain when that is smaller; blob_file.h says
// how), ROOT/partial/… for arrivals that are not complete, ROOT/incoming/… for what is being
// written. Every write is atomic and idempotent, so concurrent writers (also of several processes)
// are safe. Every read is verified: wrong bytes are the error `corrupt`, never content.
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/files.h"

namespace consort::objects {

struct CollectReport {
  std::size_t kept = 0;
  std::size_t removed = 0;
  std::uint64_t bytes_freed = 0;  // on disk
};

class ObjectStore {
 public:
  // Makes the folders when absent. Nobody but their owner and root can read them; those of an older
  // version are closed. Errors: io.
  [[nodiscard]] static Result<ObjectStore> open(const fs::path& root);

  // Putting what is there already renews its age (see collect) and replaces it when it is damaged.
  // With Durability::cached the caller owes a sync() before anything refers to the object.
  [[nodiscard]] Result<Digest> put(std::string_view bytes,
                                   Durability durability = Durability::fsync) const;
  // Streams; memory is bounded whatever the size.
  [[nodiscard]] Result<Digest> put_file(const fs::path& path,
                                        Durability durability = Durability::fsync) const;
  // The same of a file that is open for reading, from where it stands to its end; `name` is for
  // messages. For files of folders in which others could put a link in its place meanwhile.
  [[nodiscard]] Result<Digest> put_open(const Fd& fd, const std::string& name,
                                        Durability durability = Durability::fsync) const;
  // Streams what `next` gives until it gives an empty view.
  struct Stored {
    Digest digest;
    std::uint64_t size = 0;
  };
  [[nodiscard]] Result<Stored> put_stream(const std::function<Result<std::string_view>()>& next,
                                          Durability durability = Durability::fsync) const;
  // Makes everything durable that was put with Durability::cached.
  [[nodiscard]] Status sync() const;
  // Forgets one object, so that a damaged one is fetched anew. Absent is fine.
  [[nodiscard]] Status discard(const Digest& digest) const;

  [[nodiscard]] bool has(const Digest& digest) const;
  // Errors: not_found (hint: `consort deploy` sends missing objects), corrupt, too_large.
  [[nodiscard]] Result<std::string> get(const Digest& digest,
                                        std::size_t limit = kDefaultReadLimit) const;
  // Uncompressed size in bytes.
  [[nodiscard]] Result<std::uint64_t> size(const Digest& digest) const;
  // A slice of the uncompressed bytes, for resumable transfer: at most `length` bytes from
  // `offset`, none beyond the end. Verified by the checksums of its chunks; the receiver verifies
  // the whole.
  [[nodiscard]] Result<std::string> slice(const Digest& digest, std::uint64_t offset,
                                          std::size_t length) const;
  // Writes the verified bytes to `path` atomically, streaming, with exactly this mode.
  [[nodiscard]] Status materialise(const Digest& digest, const fs::path& path, mode_t mode,
                                   Durability durability = Durability::fsync) const;
  // Re-hashes the stored bytes. Errors: not_found, corrupt.
  [[nodiscard]] Status verify(const Digest& digest) const;

  // Of these, the ones that are not here, in the given order, without duplicates. The age of those
  // that are here is renewed: the asker is about to refer to them.
  [[nodiscard]] std::vector<Digest> missing(const std::vector<Digest>& digests) const;

  // Resumable arrival: bytes are appended to a partial file; complete_partial() verifies and
  // publishes. partial_size is 0 when nothing has arrived. append at another offset is the error
  // `conflict`. complete_partial on wrong bytes removes the partial file and is the error
  // `corrupt`; when nothing has arrived it is `not_found`, unless the object is here already (or is
  // the empty one).
  [[nodiscard]] Result<std::uint64_t> partial_size(const Digest& digest) const;
  [[nodiscard]] Status append_partial(const Digest& digest, std::uint64_t offset,
                                      std::string_view bytes) const;
  [[nodiscard]] Status complete_partial(const Digest& digest) const;

  // Removes every object that is not reachable from `roots`. `references(digest)` names what an
  // object refers to (its error stops the collection before anything is removed); it is asked only
  // about objects that are here. Objects younger than `grace` stay, so that a concurrent writer
  // loses nothing. Arrivals and temporary files older than `grace` go too. dry_run only counts.
  enum class Mode : std::uint8_t { remove, dry_run };
  [[nodiscard]] Result<CollectReport> collect(
      const std::set<Digest>& roots,
      const std::function<Result<std::vector<Digest>>(const Digest&)>& references,
      std::int64_t grace_seconds, Mode mode) const;

  [[nodiscard]] const fs::path& root() const { return root_; }

 private:
  explicit ObjectStore(fs::path root) : root_(std::move(root)) {}
  [[nodiscard]] fs::path path_of(const Digest& digest) const;
  [[nodiscard]] Status check_digest(const Digest& digest,
                                    const std::function<Status(std::string_view)>& sink) const;
  // True when a sound copy is here already; its age is renewed.
  [[nodiscard]] bool renew_sound(const Digest& digest) const;
  [[nodiscard]] bool renew(const Digest& digest) const;
  fs::path root_;
};

}  // namespace consort::objects
