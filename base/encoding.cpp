// Hex, base64, base62, CRC-32, UTF-8 checks and whole-file reads and writes. Decoders take exactly what the encoders make: no white
// space, no missing padding, no stray bits, so that one value has one text.
// Tested by tests/base/encoding_test.cpp.
#include "base/encoding.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <fmt/format.h>

#include "base/crypto.h"

namespace tollgate::base {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// By character, -1 where it is no digit. Postgres writes bytea in hex, so that every content that is read passes through here.
constexpr std::array<std::int8_t, 256> kHexValues = [] {
  std::array<std::int8_t, 256> made{};
  made.fill(-1);
  for (std::int8_t i = 0; i < 16; ++i) made[static_cast<unsigned char>("0123456789abcdef"[i])] = i;
  for (std::int8_t i = 10; i < 16; ++i) made[static_cast<unsigned char>("0123456789ABCDEF"[i])] = i;
  return made;
}();

// How long the code point that `lead` opens is, and what its second byte may be; 0 where no code point starts so.
struct Utf8Shape {
  std::size_t length;
  unsigned char second_min;
  unsigned char second_max;
};
Utf8Shape ShapeOf(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() { Close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool Close() {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

absl::Status FileError(std::string_view what, const std::string& path, int error) {
  const std::string text = fmt::format("{} {}: {}", what, path, std::strerror(error));
  if (error == ENOENT) return NotFound(text);
  if (error == EACCES || error == EPERM) return PermissionDenied(text);
  return Internal(text);
}

}  // namespace

int HexValue(char c) { return kHexValues[static_cast<unsigned char>(c)]; }

std::string HexEncode(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(bytes.size() * 2, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    out[2 * i] = kDigits[byte >> 4];
    out[2 * i + 1] = kDigits[byte & 15];
  }
  return out;
}

absl::StatusOr<std::string> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return InvalidArgument("hex text has an odd number of digits");
  std::string out(text.size() / 2, '\0');
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = HexValue(text[2 * i]);
    const int low = HexValue(text[2 * i + 1]);
    if (high < 0 || low < 0) return InvalidArgument(fmt::format("no hex digit at character {}", 2 * i + (high < 0 ? 1 : 2)));
    out[i] = static_cast<char>(high << 4 | low);
  }
  return out;
}

std::string Base64Encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out.push_back(j <= count ? kBase64[group >> (18 - 6 * j) & 63] : '=');
  }
  return out;
}

absl::StatusOr<std::string> Base64Decode(std::string_view text) {
  static const std::array<std::int8_t, 256> values = [] {
    std::array<std::int8_t, 256> made;
    made.fill(-1);
    for (std::size_t i = 0; i < kBase64.size(); ++i) made[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
    return made;
  }();
  if (text.size() % 4 != 0) return InvalidArgument("base64 text must come in groups of four characters, padded with '='");
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const int value = j >= 4 - padding ? 0 : values[static_cast<unsigned char>(text[i + j])];
      if (value < 0) return InvalidArgument(fmt::format("no base64 digit at character {}", i + j + 1));
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    for (std::size_t j = 0; j < 3 - padding; ++j) out.push_back(static_cast<char>(group >> (16 - 8 * j) & 255));
    if (padding > 0 && (group & ((1U << (8 * padding)) - 1)) != 0) return InvalidArgument("base64 text ends in stray bits");
  }
  return out;
}

std::string Base62Encode(std::string_view bytes, std::size_t width) {
  std::string number(bytes);
  std::string out;
  while (true) {  // Long division by 62: the remainders are the digits, lowest first.
    std::uint32_t rest = 0;
    bool zero = true;
    for (char& c : number) {
      const std::uint32_t part = rest << 8 | static_cast<unsigned char>(c);
      c = static_cast<char>(part / 62);
      rest = part % 62;
      zero = zero && c == 0;
    }
    if (zero && rest == 0) break;
    out.insert(out.begin(), kBase62[rest]);
  }
  if (out.size() < width) out.insert(0, width - out.size(), '0');
  return out;
}

std::uint32_t Crc32(std::string_view bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void AppendBigEndian(std::string& out, std::uint64_t value, int bytes) {
  const std::uint64_t highest_first = htobe64(value);
  out.append(reinterpret_cast<const char*>(&highest_first) + 8 - bytes, static_cast<std::size_t>(bytes));
}

bool IsValidUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    std::uint64_t eight = 0;
    if (i + sizeof eight <= text.size()) {  // Most text is ASCII.
      std::memcpy(&eight, text.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080ULL) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const Utf8Shape shape = ShapeOf(static_cast<unsigned char>(text[i]));
    if (shape.length == 0 || i + shape.length > text.size()) return false;
    for (std::size_t j = 1; j < shape.length; ++j) {
      const auto byte = static_cast<unsigned char>(text[i + j]);
      if (j == 1 ? byte < shape.second_min || byte > shape.second_max : byte < 0x80 || byte > 0xBF) return false;
    }
    i += shape.length;
  }
  return true;
}

std::size_t Utf8PrefixLength(std::string_view text) {
  // Only the last three bytes can belong to an unfinished code point.
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return text.size();
    if (byte >= 0xC0) return ShapeOf(byte).length > back ? text.size() - back : text.size();
  }
  return text.size();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) return FileError("cannot open", path, errno);
  std::string out;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t got = ::read(file.fd(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError("cannot read", path, errno);
    if (got == 0) return out;
    out.append(block.data(), static_cast<std::size_t>(got));
  }
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode) {
  const std::string temporary = fmt::format("{}.{}.new", path, HexEncode(RandomBytes(6)));
  File file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, static_cast<mode_t>(mode)));
  if (file.fd() < 0) return FileError("cannot create", temporary, errno);
  const auto fail = [&](std::string_view what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return FileError(what, path, error);
  };
  if (::fchmod(file.fd(), static_cast<mode_t>(mode)) != 0) return fail("cannot set the mode of");
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.fd(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail("cannot write");
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fsync(file.fd()) != 0 || !file.Close()) return fail("cannot write");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot put in place");
  // The rename lasts once the folder is on disk too.
  const auto slash = path.rfind('/');
  const File folder(::open(slash == std::string::npos ? "." : path.substr(0, slash + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd() < 0 || ::fsync(folder.fd()) != 0) return FileError("cannot flush the folder of", path, errno);
  return absl::OkStatus();
}

}  // namespace tollgate::base
