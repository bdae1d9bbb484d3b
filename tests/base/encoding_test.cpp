// RFC 4648's vectors, round trips over random bytes, and UTF-8's edges.
#include <random>

#include <sys/stat.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/encoding.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

using namespace tollgate::base;

TEST_CASE("Base64 gives RFC 4648's answers") {
  struct Row {
    const char* plain;
    const char* text;
  };
  const auto row = GENERATE(values<Row>(
      {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}}));
  CHECK(Base64Encode(row.plain) == row.text);
  CHECK(*Base64Decode(row.text) == row.plain);
}

TEST_CASE("Base64 and hex refuse every other spelling") {
  const auto text =
      GENERATE(values<const char*>({"Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9\n", "Zm9-", "Z=g="}));
  INFO(text);
  CHECK(Base64Decode(text).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(HexDecode("abc").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(HexDecode("0g").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(*HexDecode("00fFA0") == std::string("\x00\xff\xa0", 3));
}

TEST_CASE("What is encoded decodes to the same bytes") {
  const std::uint64_t seed = tollgate::test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 70, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    REQUIRE(*HexDecode(HexEncode(bytes)) == bytes);
    REQUIRE(*Base64Decode(Base64Encode(bytes)) == bytes);
  }
}

TEST_CASE("Base62 writes a number in its digits, filled up with zeros") {
  CHECK(Base62Encode("", 0).empty());
  CHECK(Base62Encode("", 3) == "000");
  CHECK(Base62Encode(std::string(1, '\x3d'), 1) == "z");
  CHECK(Base62Encode(std::string(1, '\x3e'), 1) == "10");
  CHECK(Base62Encode(std::string("\x00\x00\x0f", 3), 4) == "000F");
  CHECK(Base62Encode(std::string(4, '\xff'), 6) == "4gfFC3");
  CHECK(Base62Encode(std::string(32, '\xff'), 43).size() == 43);
}

TEST_CASE("CRC-32 gives IEEE 802.3's check value") {
  CHECK(Crc32("123456789") == 0xCBF43926U);
  CHECK(Crc32("") == 0);
}

TEST_CASE("UTF-8 is what RFC 3629 says and nothing else") {
  struct Row {
    std::string text;
    bool valid;
    std::size_t prefix;
  };
  const auto row = GENERATE(values<Row>({{"", true, 0},
                                         {"plain", true, 5},
                                         {"\xc3\xa9", true, 2},
                                         {"\xe2\x82\xac", true, 3},
                                         {"\xf0\x9f\x98\x80", true, 4},
                                         {"\xf4\x8f\xbf\xbf", true, 4},
                                         {"\xed\x9f\xbf", true, 3},
                                         {"\xee\x80\x80", true, 3},
                                         {std::string("a\0b", 3), true, 3},
                                         {"\xc0\xaf", false, 2},
                                         {"\xc1\xbf", false, 2},
                                         {"\xe0\x9f\xbf", false, 3},
                                         {"\xf0\x8f\xbf\xbf", false, 4},  // Overlong.
                                         {"\xed\xa0\x80", false, 3},
                                         {"\xed\xbf\xbf", false, 3},  // Surrogates.
                                         {"\xf4\x90\x80\x80", false, 4},
                                         {"\xf5\x80\x80\x80", false, 4},
                                         {"\xff", false, 1},
                                         {"\x80", false, 1},
                                         {"a\xbf", false, 2},
                                         {"a\xc3", false, 1},
                                         {"a\xe2\x82", false, 1},
                                         {"a\xf0\x9f\x98", false, 1},
                                         {"a\xf0", false, 1}}));
  CHECK(IsValidUtf8(row.text) == row.valid);
  CHECK(Utf8PrefixLength(row.text) == row.prefix);
}

TEST_CASE("Cutting valid text at its prefix length always leaves valid text") {
  const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const std::string part = text.substr(0, i);
    const std::size_t length = Utf8PrefixLength(part);
    CHECK(IsValidUtf8(part.substr(0, length)));
    CHECK(i - length <= 3);
  }
}

TEST_CASE("A file is replaced whole, with its mode, and errors name it") {
  const tollgate::test::TempDir dir;
  const std::string path = dir.File("key");
  REQUIRE(WriteFileAtomically(path, "one", 0600).ok());
  REQUIRE(WriteFileAtomically(path, std::string("t\0o", 3), 0600).ok());
  CHECK(*ReadFile(path) == std::string("t\0o", 3));
  struct stat about;
  REQUIRE(::stat(path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  const auto absent = ReadFile(dir.File("absent"));
  CHECK(absent.status().code() == absl::StatusCode::kNotFound);
  CHECK(Message(absent.status()).find(dir.File("absent")) != std::string::npos);
  CHECK_FALSE(WriteFileAtomically(dir.File("no/such/folder"), "x", 0600).ok());
  CHECK_FALSE(ReadFile(dir.path()).ok());
}

TEST_CASE("Big-endian numbers are appended with their highest byte first, and only so many bytes of them") {
  std::string out = "x";
  AppendBigEndian(out, 0x0102030405060708, 8);
  AppendBigEndian(out, 0xfffe, 2);
  AppendBigEndian(out, 0x0102030405060708, 4);
  AppendBigEndian(out, 7, 0);
  CHECK(HexEncode(out) == "780102030405060708fffe05060708");
}
