// One way for all sources: where is it, how much of it is there already, bring the rest, look at it, put it in its place. A copy and a
// transfer differ only in who brings the rest.
//
// Tested by tests/gateway/fetch/fetch_test.cpp.
#include "gateway/fetch/fetch.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/fetch/part.h"
#include "gateway/fetch/transfer.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"

namespace tollgate::fetch {
namespace {

constexpr std::size_t kCopyBytes = 1 << 20;

// The path's last part, without what a URL asks.
std::string LastPart(const std::string& source) {
  const std::string path = IsUrl(source) ? source.substr(0, source.find_first_of("?#")) : source;
  return path.substr(path.find_last_of('/') + 1);
}

absl::Status CheckName(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("._-+").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (!name.empty() && name.size() <= 200 && plain && name.front() != '.') return absl::OkStatus();
  return base::InvalidArgument("the file's name: use 1 to 200 letters, digits and . _ - +, not starting with a dot; name it with --as");
}

absl::Status CheckFolder(const std::string& folder) {
  struct stat info {};
  const int error = ::stat(folder.c_str(), &info) == 0 ? 0 : errno;
  if (error == 0 ? !S_ISDIR(info.st_mode) : error == ENOENT || error == ENOTDIR)
    return base::NotFound(fmt::format("there is no folder {}; make it first", folder));
  return error == 0 ? absl::OkStatus() : FileError(folder, error);
}

// What stands in the file's place already, if anything does.
absl::StatusOr<std::optional<Fetched>> Standing(const std::string& path, const base::Digest& sha256) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return std::nullopt;
    return FileError(path, errno);
  }
  TG_ASSIGN(const auto file, inference::MappedFile::Open(path));
  if (base::Sha256(file.bytes()) != sha256)
    return base::AlreadyExists(fmt::format("another file stands at {}; name this one with --as", path));
  return Fetched{.path = path, .bytes = static_cast<std::int64_t>(file.bytes().size()), .was_there = true};
}

absl::Status Copy(const FetchOptions& options, Part& part) {
  const std::string shown = Shown(options.source);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> from(std::fopen(options.source.c_str(), "rb"), std::fclose);
  const int error = from == nullptr ? errno : 0;
  struct stat info {};
  if (error == ENOENT || error == ENOTDIR || (error == 0 && ::fstat(::fileno(from.get()), &info) == 0 && S_ISDIR(info.st_mode)))
    return base::NotFound(fmt::format("{}: there is no such file", shown));
  if (error != 0) return FileError(shown, error);
  if (std::fseek(from.get(), static_cast<long>(part.bytes()), SEEK_SET) != 0) return FileError(shown, errno);
  TG_RETURN_IF_ERROR(part.Expect(std::max<std::int64_t>(0, info.st_size - part.bytes())));
  std::vector<char> buffer(kCopyBytes);
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), from.get())) {
    TG_RETURN_IF_ERROR(part.Put({buffer.data(), size}));
    if (options.progress) options.progress(part.bytes());
  }
  return std::ferror(from.get()) == 0 ? absl::OkStatus() : FileError(shown, errno);
}

// What came is the file that was meant, and one that can be loaded.
absl::Status Look(const std::string& path, const base::Digest& sha256) {
  TG_ASSIGN(const auto file, inference::MappedFile::Open(path));
  if (const base::Digest has = base::Sha256(file.bytes()); has != sha256) {
    return base::DataLoss(fmt::format("what came is another file: its sha256 is {}, expected {}; it was removed",
                                      base::HexEncode(base::View(has)), base::HexEncode(base::View(sha256))));
  }
  auto header = inference::ReadGgufForm(file.bytes());
  if (header.ok()) {
    const auto type = header->strings.find("general.type");
    const bool adapter = type != header->strings.end() && type->second == "adapter";  // Held against its model when it is loaded.
    if (!adapter) header = inference::ReadGguf(file.bytes());
  }
  return header.ok() ? absl::OkStatus() : base::Annotate(header.status(), "the file is what was meant, and was removed");
}

}  // namespace

absl::StatusOr<Fetched> Fetch(const FetchOptions& options) {
  const std::string name = options.name.empty() ? LastPart(options.source) : options.name;
  TG_RETURN_IF_ERROR(CheckName(name));
  TG_RETURN_IF_ERROR(CheckFolder(options.folder));
  const std::string path = options.folder + "/" + name;
  TG_ASSIGN(std::optional<Fetched> standing, Standing(path, options.sha256));
  if (standing) return *standing;
  TG_ASSIGN(const auto part, Part::Open(path, options.reserve_bytes));
  TG_ASSIGN(standing, Standing(path, options.sha256));  // Another pull may have ended since.
  if (standing) return *standing;
  TG_RETURN_IF_ERROR(IsUrl(options.source) ? Transfer(options, *part) : Copy(options, *part));
  TG_RETURN_IF_ERROR(part->Flush());
  if (const absl::Status good = Look(part->path(), options.sha256); !good.ok()) {
    if (part->beside()) {  // Less came than was there: a page that asks to log in, say. What was there may well be right.
      return base::Unavailable(
          fmt::format("{}: asked to go on, the server sent {} bytes of something else; {} bytes are kept, try again (or "
                      "remove {}.part to start anew)",
                      Shown(options.source), part->bytes(), part->kept(), path));
    }
    part->Remove();
    return good;
  }
  TG_RETURN_IF_ERROR(part->Place());
  return Fetched{.path = path, .bytes = part->bytes(), .resumed_from = part->resumed_from()};
}

}  // namespace tollgate::fetch
