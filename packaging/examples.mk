# Builds the examples of rasp where they were copied to, against the installed library:
#
#     cp -r PREFIX/share/doc/rasp/examples . && make -C examples
#
# PKG_CONFIG_PATH=PREFIX/lib/pkgconfig where the prefix is not one that pkg-config looks in; RPATH=PREFIX/lib for the
# programs to find the library there.

PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2
CXXFLAGS ?= -O2
COMMA := ,
RASP_CFLAGS := $(shell $(PKG_CONFIG) --cflags rasp)
RASP_LIBS := $(shell $(PKG_CONFIG) --libs rasp) -pthread $(addprefix -Wl$(COMMA)-rpath$(COMMA),$(RPATH))
C := $(basename $(wildcard *.c))
# hello.cpp beside hello.c.
CXX_PROGRAMS := $(addsuffix -cpp,$(basename $(wildcard *.cpp)))

all: $(C) $(CXX_PROGRAMS)
$(C): %: %.c
	$(CC) -std=c11 $(CFLAGS) $(RASP_CFLAGS) $< $(RASP_LIBS) -o $@
$(CXX_PROGRAMS): %-cpp: %.cpp
	$(CXX) -std=c++17 $(CXXFLAGS) $(RASP_CFLAGS) $< $(RASP_LIBS) -o $@
clean:
	rm -f $(C) $(CXX_PROGRAMS)
.PHONY: all clean
