# rasp for Homebrew, for a tap: brew install --build-from-source TAP/rasp
#
# NOT RUN HERE, and rasp has not been built on macOS: written by the Formula Cookbook (docs.brew.sh). sha256 is that of
# the release's archive.
class Rasp < Formula
  desc "Language models that read only part of their weights for each token"
  homepage "https://github.com/rasp-engine/rasp"
  url "https://github.com/rasp-engine/rasp/archive/refs/tags/v0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  on_linux do
    depends_on "binutils" => :build
  end

  def install
    system "cargo", "install", *std_cargo_args(path: "cli")
    system bin/"rasp", "man", "man"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"rasp", "completions")

    if OS.mac?
      # packaging/build.sh wants ELF and GNU's binutils.
      system "cargo", "rustc", "--profile", "dist", "--package", "librasp", "--lib",
             "--crate-type", "cdylib,staticlib", "--",
             "-C", "link-arg=-Wl,-install_name,#{opt_lib}/librasp.1.dylib"
      lib.install "target/dist/librasp.dylib" => "librasp.1.dylib"
      lib.install_symlink "librasp.1.dylib" => "librasp.dylib"
      lib.install "target/dist/librasp.a"
      include.install "include/rasp.h", "include/rasp.hpp"
    else
      ENV["PREFIX"] = prefix
      system "packaging/build.sh", "library"
      system "packaging/install.sh", "install", "library"
    end
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/rasp --version")
    (testpath/"version.c").write <<~C
      #include <rasp.h>
      #include <stdio.h>
      int main(void) { puts(rasp_version()); }
    C
    system ENV.cc, "version.c", "-I#{include}", "-L#{lib}", "-lrasp", "-o", "version"
    assert_equal version.to_s, shell_output("./version").strip
  end
end
