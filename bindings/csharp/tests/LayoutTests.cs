using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Rasp;

// The native layer against what a C compiler sees.
internal static class LayoutTests
{
    private const BindingFlags All =
        BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
    private static readonly Type Native = typeof(Model).Assembly.GetType("Rasp.Native", true);
    private static readonly List<string[]> Golden =
        File.ReadAllLines(Environment.GetEnvironmentVariable("RASP_TEST_ABI")).Select(line => line.Split(' ')).ToList();

    private static Type Struct(string name) => Native.GetNestedType(name, All);

    public static void Constants()
    {
        int seen = 0;
        foreach (string[] line in Golden.Where(line => line[0] == "constant"))
        {
            FieldInfo field = Native.GetField(line[1], All);
            Check.True(field != null, line[1] + " is missing");
            Check.Equal(line[2], field.GetRawConstantValue().ToString(), line[1]);
            seen++;
        }
        Check.True(seen > 50, "the golden file is not read right");
    }

    public static void Structs()
    {
        int seen = 0;
        foreach (string[] line in Golden.Where(line => line[0] == "struct" && line[1] != "rasp_error"))
        {
            string what = string.Join(" ", line);
            Check.True(Struct(line[1]) != null, what);
            int wanted = line[2] == "size" ? int.Parse(line[3]) : int.Parse(line[5]);
            Check.Equal(wanted, line[2] == "size" ? Marshal.SizeOf(Struct(line[1])) :
                (int)Marshal.OffsetOf(Struct(line[1]), line[3]), what);
            seen++;
        }
        Check.True(seen > 100, "the golden file is not read right");
    }

    public static void Functions()
    {
        var declared = Native.GetMethods(All).Select(method => method.GetCustomAttribute<DllImportAttribute>())
            .Where(import => import != null).Select(import => import.EntryPoint).ToList();
        foreach (string[] line in Golden.Where(line => line[0] == "function"))
        {
            // An initialiser that has grown is declared as its newest.
            Match init = Regex.Match(line[1], @"^(\w+_init)(?:_(\d+))?$");
            string next = init.Groups[1] + "_" + (init.Groups[2].Success ? int.Parse(init.Groups[2].Value) + 1 : 2);
            bool newer = init.Success && Golden.Any(other => other[0] == "function" && other[1] == next);
            Check.Equal(!newer, declared.Contains(line[1]), line[1]);
        }
    }

    public static void DefaultsOfSampling()
    {
        MethodInfo initialise = Native.GetMethod("rasp_sampling_init", All);
        var arguments = new[] { Activator.CreateInstance(Struct("rasp_sampling")) };
        initialise.Invoke(null, arguments);
        object own = typeof(Sampling).GetMethod("Raw", All).Invoke(new Sampling(), null);
        foreach (FieldInfo field in Struct("rasp_sampling").GetFields())
        {
            object expected = field.GetValue(arguments[0]), found = field.GetValue(own);
            if (field.FieldType == typeof(byte[])) Check.Same((byte[])expected, (byte[])found, field.Name);
            else Check.Equal(expected, found, field.Name);
        }
    }
}
