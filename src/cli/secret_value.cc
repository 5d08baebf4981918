#include "cli/secret_value.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "access/secrets.h"
#include "base/process.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/terminal.h"
#include "crypto/seal.h"

namespace consort::cli {
namespace {

Failure too_long(const std::string& what) {
  return fail(ErrorCode::too_large,
              fmt::format("{} is longer than {} bytes", what, access::kMaxSecretBytes))
      .hint("keep large material in a file that is encrypted, and its key as a secret");
}

Result<crypto::SecretBytes> read_input(int fd, const std::string& what) {
  crypto::SecretBytes out = crypto::SecretBytes::of_size(access::kMaxSecretBytes + 1);
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = ::read(fd, out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "cannot read " + what);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > access::kMaxSecretBytes) return too_long(what);
  return crypto::SecretBytes(out.reveal().substr(0, size));
}

// What echo and editors put there.
crypto::SecretBytes without_newline(const crypto::SecretBytes& value) {
  const std::string_view text = value.reveal();
  return crypto::SecretBytes(text.substr(0, text.size() - (text.ends_with('\n') ? 1 : 0)));
}

// What the program says on standard error is not shown: it may repeat the value.
Result<crypto::SecretBytes> run_source(const site::SecretSource& source, const fs::path& folder) {
  ProcessSpec spec = program_from(folder, source.exec);
  spec.timeout = source.timeout;
  spec.output_limit = access::kMaxSecretBytes + 1;  // with a newline
  const std::string command = quote_argv(spec.argv);
  ProcessOutcome outcome = TRY(run_process(spec));
  crypto::wipe(outcome.errors);
  crypto::SecretBytes value = crypto::SecretBytes::take(outcome.output);
  if (outcome.timed_out)
    return fail(ErrorCode::timeout,
                fmt::format("{} did not answer within {}", command, human_duration(spec.timeout)))
        .hint("it cannot ask anything here; a longer time is: timeout: '2m'");
  if (!outcome.ok())
    return fail(ErrorCode::unavailable,
                fmt::format("{} failed with exit status {}", command, outcome.status))
        .hint("what it said is not shown, it may be the value: run it by hand");
  if (!source.exact) value = without_newline(value);
  if (value.size() > access::kMaxSecretBytes) return too_long("what " + command + " prints");
  if (value.empty()) return fail(ErrorCode::invalid_input, command + " prints nothing");
  return value;
}

Result<crypto::SecretBytes> open_source(const std::string& name, const site::SecretSource& source,
                                        const fs::path& folder,
                                        const crypto::PrivateKey& recovery) {
  const fs::path file = folder / source.file;
  const std::string text = TRY(read_file(file, crypto::kSealedLimit));
  auto value = crypto::open(trim(text), recovery, file_context(name));
  if (!value && value.error().code() == ErrorCode::refused)
    return fail(ErrorCode::refused,
                fmt::format("{} is not encrypted to your recovery key", file.string()))
        .hint(fmt::format(
            "who has the value says: consort secret encrypt {} --file FILE --recipient {} "
            "--out {}",
            name, recovery.public_key().to_text(), file.string()));
  if (!value && value.error().code() == ErrorCode::corrupt)
    return fail(std::move(value).error().context("opening " + file.string()))
        .hint(fmt::format("was it encrypted under the name '{}'?", name));
  if (!value) return fail(std::move(value).error().context("opening " + file.string()));
  if (value->size() > access::kMaxSecretBytes) return too_long("the value in " + file.string());
  return value;
}

}  // namespace

Result<crypto::SecretBytes> read_value(const Arguments& arguments) {
  crypto::SecretBytes value;
  const std::string file = arguments.value("--file", "-");
  if (file == "-" && stdin_is_terminal()) {
    print_to_stderr("value (it is not shown): ");
    std::string line = TRY(read_secret_line());
    value = crypto::SecretBytes::take(line);
  } else if (file == "-") {
    value = TRY(read_input(STDIN_FILENO, "standard input"));
  } else {
    const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_errno(errno, "cannot read " + file);
    value = TRY(read_input(fd.get(), file));
  }
  if (!arguments.has("--exact")) value = without_newline(value);
  if (value.empty())
    return fail(ErrorCode::usage, "the value is empty")
        .hint("pipe it in, or name its file: --file FILE; it is never an argument");
  return value;
}

const Option& exact_option() {
  static const Option out{"--exact", "", "Keep a newline at the end of what is read."};
  return out;
}

Result<crypto::SecretBytes> value_of_source(const std::string& name,
                                            const site::SecretSource& source,
                                            const fs::path& folder,
                                            const crypto::PrivateKey& recovery) {
  return source.exec.empty() ? open_source(name, source, folder, recovery)
                             : run_source(source, folder);
}

std::string file_context(const std::string& name) { return "file/" + name; }

}  // namespace consort::cli
